"""SQuAD: nested and flat, gold answers, questions without an answer, parts that are malformed."""

import pytest

from synth.task_data.examples import BadItem, Origin, TaskExample
from synth.task_data.squad import convert_squad

ORIGIN = Origin("squad", "train.json")


def convert(record: dict) -> list[TaskExample | BadItem]:
    return list(convert_squad(record, ORIGIN))


def example(record: dict) -> TaskExample:
    (item,) = convert(record)
    assert isinstance(item, TaskExample)
    return item


def question(text: str, *answers: str, **fields: object) -> dict:
    golden = [{"text": answer, "answer_start": 0} for answer in answers]
    return {"question": text, "answers": golden, **fields}


def test_a_whole_file() -> None:
    first = {"context": "Paris is in France.", "qas": [question("Where?", "France")]}
    second = {"context": "Rome is old.", "qas": [question("Is it?", "yes"), question("What?", "R")]}
    record = {"version": "1.1", "data": [{"title": "t", "paragraphs": [first, second]}]}
    items = convert(record)
    assert all(isinstance(item, TaskExample) and item.dataset == "squad" for item in items)
    assert [
        (item.context, [(p.instruction, p.response) for p in item.pairs]) for item in items
    ] == [
        ("Paris is in France.", [("Where?", "France")]),
        ("Rome is old.", [("Is it?", "yes"), ("What?", "R")]),
    ]
    assert convert(record["data"][0]) == items


def test_the_most_common_gold_answer_or_the_first() -> None:
    paragraph = {
        "context": "T",
        "qas": [
            question("Q1?", "a", "b", "b"),
            question("Q2?", "a", "b"),
            question("Q3?", "", "c"),
        ],
    }
    assert [pair.response for pair in example(paragraph).pairs] == ["b", "a", "c"]


def test_unanswerable_questions_are_dropped() -> None:
    paragraph = {
        "context": "T",
        "qas": [
            question("Q1?", "a", is_impossible=False),
            question("Q2?", is_impossible=True, plausible_answers=[{"text": "b"}]),
            question("Q3?"),
        ],
    }
    item = example(paragraph)
    assert [pair.instruction for pair in item.pairs] == ["Q1?"]
    assert dict(item.dropped_pairs) == {"unanswerable": 2}


def test_flat_records() -> None:
    answers = {"text": ["Ann", "Bob", "Bob"], "answer_start": [1, 2, 2]}
    item = example({"id": "1", "context": "T", "question": "Who?", "answers": answers})
    assert [(pair.instruction, pair.response) for pair in item.pairs] == [("Who?", "Bob")]
    none = example({"context": "T", "question": "Who?", "answers": {"text": []}})
    assert none.pairs == ()
    assert dict(none.dropped_pairs) == {"unanswerable": 1}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"data": None}, "missing_articles"),
        ({"data": "x"}, "malformed_articles"),
        ({"data": [7]}, "malformed_article"),
        ({"data": [{"title": "t"}]}, "missing_paragraphs"),
        ({"data": [{"paragraphs": ["x"]}]}, "malformed_paragraph"),
        ({"qas": []}, "missing_context"),
    ],
)
def test_malformed_parts(record: dict, reason: str) -> None:
    (item,) = convert(record)
    assert isinstance(item, BadItem)
    assert item.reason == reason


def test_malformed_questions_leave_the_others() -> None:
    qas = [
        "Who?",
        {"question": "Q?"},
        question("Q?", "a") | {"answers": 3},
        question("Q?") | {"answers": [{}]},
        question("Q?", ""),
        {"answers": [{"text": "a"}]},
        question("Good?", "yes"),
    ]
    item = example({"context": "T", "qas": qas})
    assert [pair.instruction for pair in item.pairs] == ["Good?"]
    assert dict(item.dropped_pairs) == {
        "malformed_question": 1,
        "missing_answers": 1,
        "malformed_answers": 2,
        "empty_answer": 1,
        "missing_question": 1,
    }
