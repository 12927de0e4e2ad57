"""Our own chains: every shot with pairs is an example, with its pairs as they were."""

import json

import pytest

from pipeline.contracts import Chain, Pair, Shot, encode
from synth.task_data.chains import convert_chains
from synth.task_data.examples import BadItem, Origin, TaskExample

ORIGIN = Origin("big", "filtered/sotu/part-00000000.jsonl.zst")
PAIRS = (
    Pair("Who?", "Ann"),
    Pair("Which?", "b", "multiple_choice", ("a", "b")),
    Pair("How many?", "4", "chain_of_thought", (), "2 + 2."),
    Pair("How many?", "4", "multiple_choice_cot", ("3", "4"), "2 + 2."),
)


def record(*shots: Shot) -> dict:
    values: dict = json.loads(encode(Chain("c", "sotu", shots, {"synthesizer": "big"})))
    return values


def test_each_shot_is_an_example() -> None:
    values = record(Shot("1", "First.", PAIRS, {"style": "faq"}), Shot("2", "Second.", PAIRS[:1]))
    first, second = convert_chains(values, ORIGIN)
    assert first == TaskExample("sotu", "First.", PAIRS)
    assert second == TaskExample("sotu", "Second.", PAIRS[:1])


def test_a_raw_shot_has_no_pair() -> None:
    assert list(convert_chains(record(Shot("1", "Raw.", ())), ORIGIN)) == [
        TaskExample("sotu", "Raw.", ())
    ]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"shots": []}, "missing_source"),
        ({"source": "s", "text": "a document"}, "missing_shots"),
        ({"source": "s", "shots": [3]}, "malformed_shot"),
        ({"source": "s", "shots": [{"pairs": []}]}, "missing_context"),
    ],
)
def test_bad_chains(values: dict, reason: str) -> None:
    (item,) = convert_chains(values, ORIGIN)
    assert isinstance(item, BadItem)
    assert item.reason == reason


def test_bad_pairs_leave_the_others() -> None:
    good = {"instruction": "Who?", "response": "Ann"}
    bad = [{"instruction": "Who?"}, good | {"options": 1}, good | {"options": [1]}, "pair"]
    values = {"source": "s", "shots": [{"text": "T", "pairs": [*bad, good]}]}
    (item,) = convert_chains(values, ORIGIN)
    assert isinstance(item, TaskExample)
    assert item.pairs == (PAIRS[0],)
    assert dict(item.dropped_pairs) == {"malformed_pair": 4}
