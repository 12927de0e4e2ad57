"""Several models one after the other: a kill costs the task under way, never a finished one."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import train.comparison
from pipeline.errors import InputError
from tests.tiny_model import save_tiny_model
from train.comparison import score_models
from train.config import EvalConfig
from train.harness import Tasks
from train.suites import SHIPPED_TASKS


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    """Two folders of different weights."""
    import torch
    from transformers import AutoModelForCausalLM

    first = save_tiny_model(tmp_path / "first")
    second = tmp_path / "second"
    shutil.copytree(first, second)
    model = AutoModelForCausalLM.from_pretrained(first)
    torch.manual_seed(7)
    torch.nn.init.normal_(model.lm_head.weight)
    model.save_pretrained(second)
    return [str(first), str(second)]


@pytest.fixture
def tasks(tmp_path: Path) -> Tasks:
    """The shipped task and a copy of it by another name, twelve items of each."""
    folder = tmp_path / "mine"
    folder.mkdir()
    task = (SHIPPED_TASKS / "everyday.yaml").read_text()
    (folder / "again.yaml").write_text(task.replace("task: everyday", "task: again"))
    for file in SHIPPED_TASKS.glob("*.jsonl"):
        shutil.copy(file, folder)
    config = EvalConfig(tasks=("everyday", "again"), task_folder=str(folder), limit=12)
    return Tasks(config)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done, in order: loads of models and scored tasks."""
    done: list[str] = []
    load, score = train.comparison.load_model, Tasks.score

    def noted_load(reference: str) -> Any:
        done.append(Path(reference).name)
        return load(reference)

    def noted_score(self: Tasks, model: Any, tokenizer: Any, name: str) -> Any:
        done.append(name)
        if len(done) == 6:
            raise KeyboardInterrupt
        return score(self, model, tokenizer, name)

    monkeypatch.setattr(train.comparison, "load_model", noted_load)
    monkeypatch.setattr(Tasks, "score", noted_score)
    return done


def test_a_kill_costs_the_task_under_way(
    models: list[str], tasks: Tasks, work: list[str], tmp_path: Path
) -> None:
    folder = str(tmp_path / "scores")
    with pytest.raises(KeyboardInterrupt):
        dict(score_models(tasks, folder, models))
    assert work == ["first", "everyday", "again", "second", "everyday", "again"]
    scores = dict(score_models(tasks, folder, models))
    assert work[6:] == ["second", "again"]
    assert list(scores) == models
    for measured in scores.values():
        assert list(measured) == ["everyday", "again"]
        assert measured["everyday"] == measured["again"]
    assert scores == dict(score_models(tasks, folder, models))
    assert len(work) == 8, "kept scores were measured again"
    # Copied elsewhere it is the same model; with other weights it is not.
    shutil.copytree(models[0], tmp_path / "copy")
    copied = dict(score_models(tasks, folder, [str(tmp_path / "copy")]))
    assert list(copied.values()) == [scores[models[0]]]
    assert len(work) == 8


def test_a_model_that_is_not_there_is_said_before_any_is_scored(
    models: list[str], tasks: Tasks, work: list[str], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for bad, message in (("nothing", "no such folder"), ("empty", "has no config.json")):
        with pytest.raises(InputError, match=message):
            dict(score_models(tasks, str(tmp_path / "scores"), [*models, str(tmp_path / bad)]))
    assert not work


def test_weights_that_cannot_be_read_are_refused(
    models: list[str], tasks: Tasks, tmp_path: Path
) -> None:
    (Path(models[0]) / "model.safetensors").unlink()
    with pytest.raises(InputError, match="cannot be loaded"):
        dict(score_models(tasks, str(tmp_path / "scores"), models))
