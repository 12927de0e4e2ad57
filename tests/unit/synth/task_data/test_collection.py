"""The published collection: every form in which its questions come, and records that are bad."""

import json

import pytest

from synth.task_data.collection import convert_collection
from synth.task_data.examples import BadItem, Origin, TaskExample

ORIGIN = Origin("ft", "x/shard/00000.jsonl")
ROWS = [{"Q": "Who?", "A": "Ann"}, {"Q": "Which?\nOptions:\n- 1\n- 2", "A": 2}]


def convert(**record: object) -> TaskExample | BadItem:
    (item,) = convert_collection(record, ORIGIN)
    return item


@pytest.mark.parametrize(
    "questions",
    [
        ROWS,
        json.dumps(ROWS),
        {"Q": [row["Q"] for row in ROWS], "A": [row["A"] for row in ROWS]},
    ],
)
def test_every_form_of_the_questions(questions: object) -> None:
    item = convert(context="Text.", QA_list=questions, QA_type="qa", rc_name="race")
    assert isinstance(item, TaskExample)
    assert (item.dataset, item.context) == ("race", "Text.")
    assert [(pair.kind, pair.response) for pair in item.pairs] == [
        ("free_form", "Ann"),
        ("multiple_choice", "2"),
    ]


def test_without_a_name_the_data_set_is_the_source() -> None:
    item = convert(context="Text.", QA_list={"Q": "Who?", "A": ["Ann", "Bob"]}, rc_name=None)
    assert isinstance(item, TaskExample)
    assert item.dataset == "ft"
    assert [pair.response for pair in item.pairs] == ["Ann"]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"context": "T", "rc_name": "r"}, "missing_qa_list"),
        ({"context": "T", "rc_name": "r", "QA_list": "[{"}, "malformed_qa_list"),
        ({"context": "T", "rc_name": "r", "QA_list": 3}, "malformed_qa_list"),
        ({"context": "T", "rc_name": "r", "QA_list": {"Q": ["a"], "A": []}}, "malformed_qa_list"),
        ({"context": "T", "rc_name": 5, "QA_list": ROWS}, "malformed_rc_name"),
        ({"rc_name": "r", "QA_list": ROWS}, "missing_context"),
    ],
)
def test_bad_records(record: dict, reason: str) -> None:
    item = convert(**record)
    assert isinstance(item, BadItem)
    assert item.reason == reason


def test_bad_questions_leave_the_others() -> None:
    item = convert(context="T", rc_name="r", QA_list=["Who?", {"Q": "Why?"}, *ROWS])
    assert isinstance(item, TaskExample)
    assert len(item.pairs) == 2
    assert dict(item.dropped_pairs) == {"malformed_pair": 1, "missing_answer": 1}
