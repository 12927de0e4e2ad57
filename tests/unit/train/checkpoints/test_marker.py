"""A checkpoint from elsewhere names files of its own folder, and no others."""

import json
from pathlib import Path

import pytest
import torch

from pipeline import storage
from pipeline.errors import InputError
from tests.checkpoint_files import write_checkpoint
from train.checkpoints.marker import (
    CheckpointMarker,
    find_damage,
    list_complete,
    list_damaged_markers,
    remove_unmarked,
)
from train.checkpoints.reading import CheckpointReader


@pytest.fixture
def marker(tmp_path: Path) -> CheckpointMarker:
    return write_checkpoint(tmp_path, {"w": torch.arange(4.0)}, num_ranks=1)


def lead_out(tmp_path: Path, marker: CheckpointMarker) -> CheckpointMarker:
    """The same checkpoint, whose sidecar names a file outside and whose hashes agree with it."""
    root = tmp_path / "step-00000002"
    (tmp_path / "secret").write_bytes((root / "rank-00000.safetensors").read_bytes())
    sidecar = root / "rank-00000.json"
    sidecar.write_text(
        json.dumps(json.loads(sidecar.read_bytes()) | {"name": "../secret"}), encoding="utf-8"
    )
    hashes = {"rank-00000.json": storage.sha256_of(str(sidecar))}
    return marker.model_copy(update={"sidecars": hashes}).signed()


def test_a_sidecar_that_leads_out_is_damage(tmp_path: Path, marker: CheckpointMarker) -> None:
    assert find_damage(str(tmp_path), marker) is None
    hostile = lead_out(tmp_path, marker)
    damage = find_damage(str(tmp_path), hostile)
    assert damage is not None
    assert "rank-00000.json cannot be read as a RankFile: name = '../secret'" in damage
    with pytest.raises(InputError, match=r"name = '\.\./secret'"):
        CheckpointReader(str(tmp_path), hostile)


def test_a_marker_that_leads_out_is_damaged(tmp_path: Path, marker: CheckpointMarker) -> None:
    path = tmp_path / "step-00000002.json"
    values = json.loads(path.read_bytes())
    values["sidecars"] = {"../rank-00000.json": values["sidecars"]["rank-00000.json"]}
    path.write_text(json.dumps(values), encoding="utf-8")
    assert list_complete(str(tmp_path), marker.instance) == []
    assert list_damaged_markers(str(tmp_path)) == [path]


def test_a_linked_file_is_damage(tmp_path: Path, marker: CheckpointMarker) -> None:
    tensors = tmp_path / "step-00000002" / "rank-00000.safetensors"
    tensors.rename(tmp_path / "elsewhere")
    tensors.symlink_to(tmp_path / "elsewhere")
    damage = find_damage(str(tmp_path), marker)
    assert damage is not None
    assert "is a link out of its folder" in damage


def test_what_a_linked_folder_leads_to_is_not_removed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("mine")
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    (checkpoints / "step-00000001").symlink_to(kept)
    remove_unmarked(str(checkpoints))
    assert list(checkpoints.iterdir()) == []
    assert (kept / "file").read_text() == "mine"
