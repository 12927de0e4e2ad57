"""The task that is made from held-out texts."""

import json
from collections import Counter
from pathlib import Path

import pytest

from launch.experiment.continuation import make_questions, write_task
from pipeline.errors import InputError
from train.config import EvalConfig
from train.harness import Tasks

WORDS = ["law", "peace", "treaty", "senate", "harbor", "revenue", "nation", "winter"]


def text(number: int, num_sentences: int = 24) -> str:
    return " ".join(
        f"In the {at}th place text {number} speaks of {WORDS[(number + at) % 8]}, and then "
        f"it goes on to {WORDS[(number * at) % 8]} for a while."
        for at in range(num_sentences)
    )


TEXTS = [text(number) for number in range(8)]


def test_each_ending_is_right_once_and_from_a_text_of_its_own() -> None:
    questions = make_questions(TEXTS, 16, seed=0)
    assert 8 <= len(questions) <= 16
    assert len(questions) % 4 == 0
    for first in range(0, len(questions), 4):
        group = questions[first : first + 4]
        assert [question.answer for question in group] == [0, 1, 2, 3]
        assert len({tuple(question.endings) for question in group}) == 1
        assert len(set(group[0].endings)) == 4
        sources = set()
        for question in group:
            right = question.endings[question.answer]
            (source,) = [each for each in TEXTS if f"{question.passage} {right}" in each]
            sources.add(source)
        assert len(sources) == 4


def test_the_seed_decides() -> None:
    assert make_questions(TEXTS, 16, seed=0) == make_questions(TEXTS, 16, seed=0)
    assert make_questions(TEXTS, 16, seed=0) != make_questions(TEXTS, 16, seed=1)


def test_passages_have_room_and_do_not_overlap() -> None:
    questions = make_questions(TEXTS, 400, seed=0)
    assert all(200 <= len(question.passage) <= 600 for question in questions)
    assert max(Counter(question.passage for question in questions).values()) == 1
    rights = {question.endings[question.answer] for question in questions}
    assert not any(right in question.passage for right in rights for question in questions)


def test_too_few_texts_are_refused() -> None:
    with pytest.raises(InputError, match="3 texts give no question"):
        make_questions(TEXTS[:3], 16, seed=0)
    with pytest.raises(InputError, match="needs four texts of several sentences"):
        make_questions(["Short."] * 9, 16, seed=0)


def test_the_harness_reads_the_task(tmp_path: Path) -> None:
    questions = make_questions(TEXTS, 16, seed=0)
    write_task(str(tmp_path), "made", questions)
    lines = (tmp_path / "made.jsonl").read_text().splitlines()
    assert json.loads(lines[1])["answer"] == 1
    tasks = Tasks(EvalConfig(tasks=("made",), task_folder=str(tmp_path)))
    tasks.load(["made"])
    task = tasks._loaded["made"]["tasks"]["made"]
    record = next(iter(task.test_docs()))
    assert task.doc_to_text(record) == questions[0].passage
    assert task.doc_to_choice(record) == questions[0].endings
    assert task.doc_to_target(record) == questions[0].answer
