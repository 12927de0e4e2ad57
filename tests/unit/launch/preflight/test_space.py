"""Room on disks: estimates against what the quickstart writes, and disks that are full."""

from pathlib import Path

import pytest

from launch.preflight.findings import Finding, run_checks
from launch.preflight.space import bytes_to_write, checkpoints_kept, space_checks
from tests.preflighted import full_disk, subject_of
from train.config import TrainConfig


def look(reference: str, *overrides: str) -> dict[str, Finding]:
    subject = subject_of(reference, *overrides)
    return {each.check: each for each in run_checks(list(space_checks(subject, hub="away")))}


def test_estimates_follow_from_input_and_settings() -> None:
    needed, unknown = bytes_to_write(subject_of("quickstart", "run.dir=/nowhere/run"), "away")
    assert unknown == []
    # What ingest and packing of all speeches write: 4,604,201 and, with 2% converted, 4,077,310.
    assert needed["ingest"] == pytest.approx(4_604_201, rel=0.1)
    assert needed["pack"] == pytest.approx(4_077_310, rel=0.1)
    assert needed["train"] == 12 * needed["export"] // 2 * 2


def test_the_size_of_a_data_set_is_not_known() -> None:
    needed, unknown = bytes_to_write(subject_of("scratch-500m"), "away")
    assert unknown == ["ingest", "synth", "filter", "pack"]
    assert set(needed) == {"train", "export"}
    found = look("scratch-500m", "run.dir=/tmp/nowhere")["disk"]
    assert "not counting ingest, synth, filter, pack" in found.found


@pytest.mark.parametrize(
    ("settings", "number"),
    [
        ({"num_steps": 100, "checkpoint_every": 10}, 3),
        ({"num_steps": 10, "checkpoint_every": 10}, 1),
        ({"num_steps": 100, "checkpoint_every": 10, "keep_checkpoints": 5}, 6),
        ({"num_steps": 100, "checkpoint_every": 10, "keep_every": 50}, 5),
    ],
)
def test_checkpoints_on_the_disk_at_once(settings: dict, number: int) -> None:
    base = {"model": {"preset": "llama-1b"}, "rows_per_batch": 1}
    assert checkpoints_kept(TrainConfig.model_validate({**base, **settings})) == number


def test_a_disk_without_room_is_a_problem(tmp_path: Path) -> None:
    with full_disk(tmp_path / "disk") as disk:
        found = look("quickstart", f"run.dir={disk}/run")["disk"]
        assert found.state == "problem"
        assert "0 KiB are free" in found.found
        assert "train.keep_checkpoints" in found.remedy


def test_a_bucket_cannot_be_asked() -> None:
    found = look("quickstart", "run.dir=memory://bucket/run")["disk"]
    assert (found.state, "cannot be asked" in found.found) == ("ok", True)


def test_ranks_on_cpus_need_shared_memory() -> None:
    found = look("quickstart", "run.dir=/tmp/nowhere", "train.num_ranks=100000")["/dev/shm"]
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("ranks on GPUs have no such buffers")
    assert found.state == "problem"
    assert "--shm-size" in found.remedy
