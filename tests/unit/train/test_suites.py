"""Suites name tasks that exist; the task that ships is sound: nothing but knowledge solves it."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
import yaml

from pipeline.decontamination.config import EvalSetConfig
from pipeline.decontamination.eval_sets import read_eval_texts
from pipeline.errors import InputError
from train.suites import SHIPPED_TASKS, SUITES, expand_suites, local_digest, local_folders


def items(name: str) -> list[dict]:
    return [json.loads(line) for line in (SHIPPED_TASKS / name).read_text().splitlines()]


def test_every_task_of_a_suite_is_one_of_the_harness() -> None:
    from lm_eval.tasks import TaskManager

    known = set(TaskManager(include_path=str(SHIPPED_TASKS)).all_tasks)
    assert {name: set(tasks) - known for name, tasks in SUITES.items()} == {
        "general": set(),
        "biomedicine": set(),
        "finance": set(),
    }
    assert len(SUITES["general"]) == 9
    assert not known & SUITES.keys(), "a suite hides a task"


def test_suites_stand_for_their_tasks_once() -> None:
    names = expand_suites(["everyday", "biomedicine", "medmcqa", "general"])
    assert names[:3] == ["everyday", "pubmedqa_labeled", "medqa_4options"]
    assert names[-1] == "mmlu"
    assert len(names) == len(set(names)) == 1 + 9 + 9


def test_shipped_tasks_are_named_as_their_files() -> None:
    tasks = list(SHIPPED_TASKS.glob("*.yaml"))
    assert tasks
    for task in tasks:
        assert yaml.safe_load(task.read_text())["task"] == task.stem


def test_items_have_one_place_for_each_right_answer_as_often_as_another() -> None:
    questions = items("everyday.jsonl")
    assert len(questions) == 100
    assert all(len(set(item["endings"])) == 4 for item in questions)
    assert Counter(item["answer"] for item in questions) == {0: 25, 1: 25, 2: 25, 3: 25}
    beginnings = {item["beginning"] for item in [*questions, *items("everyday.examples.jsonl")]}
    assert len(beginnings) == len(questions) + len(items("everyday.examples.jsonl"))


@pytest.mark.parametrize("extreme", [min, max])
def test_lengths_give_no_answer_away(extreme) -> None:
    expected = 0.0
    for item in items("everyday.jsonl"):
        sizes = [len(ending) for ending in item["endings"]]
        if sizes[item["answer"]] == extreme(sizes):
            expected += 1 / sizes.count(extreme(sizes))
    assert expected == pytest.approx(25, abs=4)


def test_training_can_be_kept_clean_of_it() -> None:
    path = "package://train/tasks/everyday.yaml"
    texts = list(read_eval_texts("everyday", EvalSetConfig(path=path)))
    assert len(texts) == 100
    assert any("When water gets cold enough" in text for text in texts[0])


def test_the_digest_follows_content_and_not_places(tmp_path: Path) -> None:
    for name in ("here", "there"):
        shutil.copytree(SHIPPED_TASKS, tmp_path / name)
    here, there = (str(tmp_path / name) for name in ("here", "there"))
    assert local_digest(["mmlu"], "") == ""
    before = local_digest(["mmlu"], here)
    assert before == local_digest(["mmlu"], there)
    assert local_digest(["everyday"], "")
    with (tmp_path / "here" / "everyday.jsonl").open("a") as file:
        file.write("{}\n")
    assert local_digest(["mmlu"], here) != before


def test_a_folder_without_tasks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \.yaml file below it"):
        local_folders(str(tmp_path))
