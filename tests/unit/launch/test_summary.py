"""What `ipt status` says of training that is under way."""

import json
import os
import time
from pathlib import Path

import pytest

from launch.summary import status_lines
from pipeline.opening import open_stage
from pipeline.run_folder import RunFolder

STEP = {"loss": 2.5, "perf/tokens_per_s": 51234.5, "time/step_s": 3.0}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    found = RunFolder(str(tmp_path))
    open_stage(found.train, "train", {"num_steps": 1000}, {})
    return found


def train_line(folder: RunFolder) -> str:
    (line,) = [line for line in status_lines(folder) if line.startswith("train")]
    return line


def write(folder: RunFolder, *lines: dict[str, object], age_s: float = 0.0) -> None:
    path = Path(folder.metrics)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    os.utime(path, (time.time() - age_s,) * 2)


def test_before_the_first_step(folder: RunFolder) -> None:
    assert train_line(folder) == "train   in progress: before the first step"


def test_training_says_how_fast_it_is_and_how_long_it_takes(folder: RunFolder) -> None:
    write(folder, {"step": 1, **STEP, "time/step_s": 5.0}, {"step": 2, **STEP})
    said = "train   in progress: step 2/1000, loss 2.5000, 51,234 tokens/s; 1:06:32 left"
    assert train_line(folder) == said
    write(folder, {"step": 2, **STEP, "time/step_s": 4.0}, {"step": 2, "heldout/raw/loss": 3.0})
    assert train_line(folder) == said


def test_training_that_has_stopped_has_no_time_left(folder: RunFolder) -> None:
    write(folder, {"step": 9, **STEP}, age_s=3600.5)
    assert train_line(folder).endswith("51,234 tokens/s; no step for 1:00:00")
    slow = {"step": 9, **STEP, "time/step_s": 1000.0}
    write(folder, slow, age_s=3600.5)
    assert train_line(folder).endswith(" left")


def test_the_last_steps_anomaly_is_said(folder: RunFolder) -> None:
    write(folder, {"step": 9, "loss": float("nan"), "anomaly": "skipped: loss not finite"})
    assert train_line(folder).endswith("step 9/1000, loss nan, skipped: loss not finite")
