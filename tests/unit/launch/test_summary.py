"""What `ipt status` says of training that is under way, and of a tuning run."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from launch.references import tuning_of
from launch.stages import stages_of
from launch.summary import status_lines
from pipeline.opening import open_stage
from pipeline.packing.config import PackConfig
from pipeline.run_folder import RunFolder
from pipeline.stage import read_manifest
from tests.tuning_run import pack_tasks, write_task_data, write_tasks

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


def test_a_tuning_run_shows_its_own_stages(tmp_path: Path, tokenizer_folder: Path) -> None:
    run = RunFolder(str(tmp_path / "run"))
    inputs = write_task_data(tmp_path / "ft.jsonl", {"race": ["A", "B"], "squad": ["C"]})
    write_tasks(run, inputs)
    tasks = "tasks   complete: 3 examples, 3 pairs, 2 data sets, 0 dropped"
    not_begun = [f"{name:<7} not begun" for name in ("pack", "train", "export")]
    assert status_lines(run) == [tasks, *not_begun]
    counts = pack_tasks(run, PackConfig(tokenizer=str(tokenizer_folder), seq_len=128)).counts
    pack = f"pack    complete: 3 documents, {counts['tokens']} tokens, {counts['padding']} padding"
    assert status_lines(run) == [tasks, pack, *not_begun[1:]]
    Path(run.rows, "manifest.json").unlink()
    assert status_lines(run)[1] == "pack    in progress: 2 parts, 3 records committed"


def test_rows_of_other_task_data_are_said_to_be_outdated(
    tmp_path: Path, tokenizer_folder: Path
) -> None:
    run = RunFolder(str(tmp_path / "run"))
    write_tasks(run, write_task_data(tmp_path / "ft.jsonl", {"race": ["A"]}))
    pack_tasks(run, PackConfig(tokenizer=str(tokenizer_folder), seq_len=128))
    shutil.rmtree(run.tasks)
    write_tasks(run, write_task_data(tmp_path / "ft.jsonl", {"race": ["A", "B"]}))
    assert "; tasks/ was made anew after the pack stage used it" in status_lines(run)[1]


def test_a_self_synthetic_tuning_shows_writing_too(tmp_path: Path) -> None:
    run = RunFolder(str(tmp_path / "run"))
    open_stage(run.documents, "ingest", {}, {}).close()
    documents = read_manifest(run.documents).input_key()
    open_stage(run.augmented, "synth", {}, {"documents": documents})
    write_tasks(run, write_task_data(tmp_path / "ft.jsonl", {"race": ["A"]}))
    lines = status_lines(run)
    named = [line.split()[0] for line in lines]
    assert named == ["ingest", "synth", "filter", "tasks", "pack", "train", "export"]
    assert lines[1] == "synth   in progress: 0 of 0 parts committed; no figures yet"


def test_the_stages_of_a_config_may_be_asked_for(tmp_path: Path) -> None:
    config = tuning_of("smollm2-135m", [f"run.dir={tmp_path / 'run'}"]).config
    assert status_lines(config.folder, stages_of(config)) == [
        f"{name:<7} not begun" for name in ("tasks", "pack", "train", "export")
    ]
