"""Ranges of weights, whoever wrote which part of them."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from tests.checkpoint_files import write_checkpoint
from train.checkpoints.engine_state import KINDS
from train.checkpoints.marker import (
    RankFile,
    find_damage,
    list_complete,
    list_damaged_markers,
    remove_unmarked,
    set_aside,
    steps_to_remove,
    tag_of,
)
from train.checkpoints.reading import CheckpointReader

WEIGHTS = {"v": torch.arange(7).float(), "w": torch.arange(24).float().view(4, 6)}


@settings(max_examples=40, deadline=None)
@given(data=st.data(), num_ranks=st.integers(1, 12))
def test_any_range_is_read_however_the_weight_was_cut(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, num_ranks: int
) -> None:
    folder = tmp_path_factory.mktemp("checkpoints")
    reader = CheckpointReader(str(folder), write_checkpoint(folder, WEIGHTS, num_ranks))
    start = data.draw(st.integers(0, 23))
    end = data.draw(st.integers(start + 1, 24))
    for number, kind in enumerate(KINDS):
        found = reader.read("w", kind, start, end - start)
        assert found.tolist() == [100 * number + each for each in range(start, end)]
    assert torch.equal(reader.weight("w"), WEIGHTS["w"])


def test_buffers_and_random_states(tmp_path: Path) -> None:
    marker = write_checkpoint(tmp_path, WEIGHTS, 2, buffers={"b": torch.tensor([7])})
    reader = CheckpointReader(str(tmp_path), marker)
    assert {name: each.tolist() for name, each in reader.buffers().items()} == {"b": [7]}
    states = [reader.random_state(rank, "cpu") for rank in range(2)]
    assert [each.tolist() for each in states if each is not None] == [[0], [1]]
    assert reader.random_state(0, "cuda") is None
    assert reader.random_state(2, "cpu") is None


def test_what_nobody_wrote_is_not_made_up(tmp_path: Path) -> None:
    marker = write_checkpoint(tmp_path, {"w": torch.arange(15).float()}, 3)
    middle = sorted(marker.sidecars)[1]
    sidecars = {name: value for name, value in marker.sidecars.items() if name != middle}
    reader = CheckpointReader(str(tmp_path), marker.model_copy(update={"sidecars": sidecars}))
    assert reader.read("w", "weight", 0, 5).tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(AssertionError, match="nowhere"):
        reader.read("w", "weight", 3, 4)


def test_damage_is_found_and_named(tmp_path: Path) -> None:
    marker = write_checkpoint(tmp_path, WEIGHTS, 2)
    assert find_damage(str(tmp_path), marker) is None
    data = tmp_path / tag_of(2) / "rank-00001.safetensors"
    whole = data.read_bytes()
    data.write_bytes(whole[:-1])
    assert "bytes instead of" in (find_damage(str(tmp_path), marker) or "")
    for position in (0, len(whole) // 2, len(whole) - 1):
        data.write_bytes(bytes([*whole[:position], whole[position] ^ 4, *whole[position + 1 :]]))
        assert "rank-00001.safetensors does not" in (find_damage(str(tmp_path), marker) or "")
    assert find_damage(str(tmp_path), marker, share=0, num_shares=2) is None, "not its share"
    assert find_damage(str(tmp_path), marker, share=1, num_shares=2)
    data.unlink()
    assert "is missing" in (find_damage(str(tmp_path), marker) or "")
    data.write_bytes(whole)
    sidecar = tmp_path / tag_of(2) / "rank-00000.json"
    file = RankFile.model_validate_json(sidecar.read_bytes())
    sidecar.write_text(file.model_copy(update={"sha256": "0"}).model_dump_json())
    assert "rank-00000.json does not" in (find_damage(str(tmp_path), marker) or "")


def test_which_checkpoints_are_kept() -> None:
    steps = [5, 10, 15, 20, 25]
    assert steps_to_remove(steps, keep=2, keep_every=0) == [5, 10, 15]
    assert steps_to_remove(steps, keep=2, keep_every=10) == [5, 15]
    assert steps_to_remove(steps, keep=9, keep_every=0) == []


def test_a_marker_that_was_changed_is_passed_over(tmp_path: Path) -> None:
    for step in (2, 4):
        write_checkpoint(tmp_path, WEIGHTS, 2, step=step)
    marker = tmp_path / "step-00000004.json"
    whole = marker.read_text()
    for changed in (whole[:-30], "", whole.replace('"optimizer_steps":4', '"optimizer_steps":5')):
        assert changed != whole
        marker.write_text(changed)
        assert [each.step for each in list_complete(str(tmp_path), "i")] == [2]
        assert list_damaged_markers(str(tmp_path)) == [marker]
    marker.write_text(whole)
    assert [each.step for each in list_complete(str(tmp_path), "i")] == [2, 4]
    assert not list_complete(str(tmp_path), "of another execution")


def test_a_marker_of_another_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "step-00000004.json").write_text('{"step": 4, "num_ranks": 2}')
    with pytest.raises(InputError, match=r"00004\.json is not a checkpoint of this version"):
        list_complete(str(tmp_path), "i")


def test_what_is_set_aside_no_longer_counts_and_stays(tmp_path: Path) -> None:
    for step in (2, 4):
        write_checkpoint(tmp_path, WEIGHTS, 2, step=step)
    set_aside(str(tmp_path), 4)
    assert [each.step for each in list_complete(str(tmp_path), "i")] == [2]
    assert not list_damaged_markers(str(tmp_path))
    remove_unmarked(str(tmp_path))
    assert (tmp_path / "damaged-step-00000004" / "rank-00001.safetensors").exists()
    write_checkpoint(tmp_path, WEIGHTS, 2, step=4)
    set_aside(str(tmp_path), 4)
    assert [each.step for each in list_complete(str(tmp_path), "i")] == [2]
