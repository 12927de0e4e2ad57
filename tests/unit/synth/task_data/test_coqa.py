"""CoQA: as published and flat, turns by their numbers, answers that are none."""

import pytest

from synth.task_data.coqa import convert_coqa
from synth.task_data.examples import BadItem, Origin, TaskExample

ORIGIN = Origin("coqa", "train.json")
STORY = "Ann has a red kite."
ASKED = [("Who has a kite?", "Ann"), ("What colour?", "red")]


def convert(record: dict) -> list[TaskExample | BadItem]:
    return list(convert_coqa(record, ORIGIN))


def conversation(*turns: tuple[str, str], **fields: object) -> dict:
    return {
        "source": "mctest",
        "story": STORY,
        "questions": [{"input_text": q, "turn_id": n} for n, (q, _) in enumerate(turns, start=1)],
        "answers": [{"input_text": a, "turn_id": n} for n, (_, a) in enumerate(turns, start=1)],
        **fields,
    }


def flat(*turns: tuple[str, str]) -> dict:
    answers = {"input_text": [a for _, a in turns], "answer_start": [0 for _ in turns]}
    questions = [question for question, _ in turns]
    return {"source": "mctest", "story": STORY, "questions": questions, "answers": answers}


def asked(item: TaskExample | BadItem) -> list[tuple[str, str]]:
    assert isinstance(item, TaskExample)
    return [(pair.instruction, pair.response) for pair in item.pairs]


def test_published_and_flat_give_the_same() -> None:
    (published,) = convert({"version": "1.0", "data": [conversation(*ASKED)]})
    assert asked(published) == ASKED
    assert isinstance(published, TaskExample)
    assert (published.dataset, published.context) == ("coqa", STORY)
    assert published.origins == ("mctest",)
    assert convert(flat(*ASKED)) == [published]


def test_turns_go_by_their_numbers() -> None:
    record = conversation(*ASKED)
    record["answers"].reverse()
    assert asked(convert(record)[0]) == ASKED
    record["answers"][0]["turn_id"] = 9
    (item,) = convert(record)
    assert asked(item) == ASKED[:1]
    assert isinstance(item, TaskExample)
    assert dict(item.dropped_pairs) == {"missing_answer": 1}


def test_what_the_story_does_not_tell_is_dropped() -> None:
    (item,) = convert(flat(*ASKED, ("How old is she?", "Unknown.")))
    assert asked(item) == ASKED
    assert isinstance(item, TaskExample)
    assert dict(item.dropped_pairs) == {"unanswerable": 1}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"questions": None}, "missing_questions"),
        ({"questions": "Who?"}, "malformed_questions"),
        ({"answers": None}, "missing_answers"),
        ({"answers": []}, "malformed_turns"),
        ({"story": None}, "missing_context"),
    ],
)
def test_bad_conversations(fields: dict, reason: str) -> None:
    good = conversation(*ASKED)
    bad, kept = convert({"data": [good | fields, good]})
    assert isinstance(bad, BadItem)
    assert bad.reason == reason
    assert asked(kept) == ASKED
