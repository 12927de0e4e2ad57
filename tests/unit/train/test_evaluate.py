"""The evaluation stage: tasks stand in its report, and only what decides them is its identity."""

import json
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.errors import InputError, StaleStageError
from pipeline.run_folder import RunFolder
from tests.exported_run import write_exported_run
from train import evaluate
from train.config import Attention, EvalConfig
from train.evaluate import load_for_rows, run_eval
from train.suites import SHIPPED_TASKS

SETTINGS = {"sample_tokens": 2, "limit": 8}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return write_exported_run(tmp_path)


def test_tasks_stand_in_the_report(folder: RunFolder) -> None:
    config = EvalConfig(tasks=("everyday",), **SETTINGS)
    manifest = run_eval(config, folder)
    assert manifest.counts == {"tasks": 1}
    report = json.loads(Path(folder.report).read_text())
    score = report["tasks"]["everyday"]
    assert (score["num_examples"], score["num_fewshot"]) == (8, 0)
    assert 0 <= score["metrics"]["acc"]["value"] <= 1
    assert score["metrics"]["acc"]["stderr"] > 0
    assert report["sample"]["prompt"] == "The"
    assert run_eval(config.model_copy(update={"batch_size": 2}), folder) == manifest
    with pytest.raises(StaleStageError, match=r"config\.limit"):
        run_eval(config.model_copy(update={"limit": 9}), folder)


def test_local_files_are_part_of_the_identity(folder: RunFolder, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(SHIPPED_TASKS, mine)
    config = EvalConfig(tasks=("everyday",), task_folder=str(mine), **SETTINGS)
    manifest = run_eval(config, folder)
    moved = mine.rename(tmp_path / "moved")
    config = config.model_copy(update={"task_folder": str(moved)})
    assert run_eval(config, folder) == manifest
    lines = (moved / "everyday.jsonl").read_text().splitlines(keepends=True)
    (moved / "everyday.jsonl").write_text("".join(lines[1:]))
    with pytest.raises(StaleStageError, match=r"inputs\.task_files"):
        run_eval(config, folder)


def test_without_tasks_nothing_of_them_is_asked_or_written(folder: RunFolder) -> None:
    manifest = run_eval(EvalConfig(**SETTINGS), folder)
    assert manifest.counts == {}
    assert manifest.config == {"max_rows": 256, "prompt": "The", "sample_tokens": 2}
    report = json.loads(Path(folder.report).read_text())
    assert "heldout" in report
    assert "tasks" not in report


def test_an_unknown_task_is_refused_before_anything_is_measured(folder: RunFolder) -> None:
    with pytest.raises(InputError, match="did you mean 'everyday'"):
        run_eval(EvalConfig(tasks=("everydy",), **SETTINGS), folder)
    assert not Path(folder.report).exists()
    # Such a start binds nobody: the corrected config is not refused.
    assert run_eval(EvalConfig(**SETTINGS), folder).counts == {}


@pytest.mark.parametrize("settings", [{"batch_size": 0}, {"batch_size": "many"}, {"limit": -1}])
def test_settings_without_sense_are_refused(settings: dict) -> None:
    with pytest.raises(ValidationError):
        EvalConfig(**settings)
    assert EvalConfig(batch_size="auto").batch_size == "auto"


@pytest.mark.parametrize(
    ("trained_with", "computed_by"),
    [("auto", "ipt_varlen"), ("eager", "eager"), ("sdpa", "sdpa"), ("flex", "ipt_varlen")],
)
def test_rows_are_computed_by_the_backend_of_the_training(
    trained_with: Attention, computed_by: str, folder: RunFolder
) -> None:
    """Some architectures know `eager` alone; `flex` is for GPUs."""
    model = load_for_rows(folder.hf, trained_with)
    assert model.config._attn_implementation == computed_by


def test_the_training_decides_the_backend(folder: RunFolder, monkeypatch) -> None:
    asked = []

    def load(hf: str, attention: Attention) -> object:
        asked.append(attention)
        return load_for_rows(hf, attention)

    monkeypatch.setattr(evaluate, "load_for_rows", load)
    run_eval(EvalConfig(**SETTINGS), folder, "eager")
    assert asked == ["eager"]
