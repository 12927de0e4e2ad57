"""The same question twice about one text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import Pair
from synth.quality.config import DuplicatesConfig
from synth.quality.duplicates import QuestionSet, jaccard, question_key
from synth.quality.words import PairWords


def second_verdict(first: Pair, second: Pair, config: DuplicatesConfig | None = None) -> str:
    questions = QuestionSet(config or DuplicatesConfig())
    assert questions.verdict(PairWords(first)) == ""
    questions.add(PairWords(first))
    return questions.verdict(PairWords(second))


def pair(question: str, answer: str = "whale oil") -> Pair:
    return Pair(question, answer)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("Who built it?", "who built IT", "duplicate_question"),
        ("Who built the Light-House?", "Who built the light house ?", "duplicate_question"),
        ("谁建造了灯塔?", "谁建造了灯塔\uff1f", "duplicate_question"),
        ("???", "???", "duplicate_question"),
        (
            "When was the old lighthouse at Cape Orrin built?",
            "When were the old lighthouses of Cape Orrin built?",
            "near_duplicate_question",
        ),
        (
            "According to the passage, what did the lighthouse burn until 1903?",
            "What did the lighthouse burn until 1903, as mentioned in the text?",
            "near_duplicate_question",
        ),
        (
            "Welches Öl verbrannte der alte Leuchtturm?",
            "Laut Text: welches Öl verbrannte der alte Leuchtturm?",
            "near_duplicate_question",
        ),
    ],
)
def test_the_same_question_falls_whatever_its_answer(first: str, second: str, reason: str) -> None:
    assert second_verdict(pair(first, "a"), pair(second, "b")) == reason


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("What happened before the war?", "What happened after the war?"),
        ("When was the bridge built?", "Where was the bridge built?"),
        ("Which statement is true of the lamps?", "Which statement is not true of the lamps?"),
        ("Did Rome defeat Carthage?", "Did Carthage defeat Rome?"),
        (
            "What must one not do with the lamp at night?",
            "What must one do with the lamp at night?",
        ),
        (
            "How many visitors came to the lighthouse at Cape Orrin in the summer of 1903?",
            "How many visitors came to the lighthouse at Cape Orrin in the summer of 1904?",
        ),
        ("True or false: the tower burned.", "True or false: the keeper left."),
        ("What did Anna build?", "What did Tom build?"),
        ("What is the tone of the passage?", "What is the genre of the passage?"),
        ("Write a title for the text.", "Write a summary of the text."),
        ("Summarize the passage in one sentence.", "Give the main idea in one sentence."),
        ("谁建造了灯塔?", "谁拆除了旧桥?"),
        ("!!!", "???"),
    ],
)
def test_other_questions_stay_even_with_the_same_answer(first: str, second: str) -> None:
    assert second_verdict(pair(first), pair(second)) == ""


def test_the_same_answer_to_a_question_within_the_other_falls() -> None:
    short, long = "Who built the lighthouse?", "Who built the lighthouse at Cape Orrin?"
    assert second_verdict(pair(short, "Anna"), pair(long, "anna.")) == "repeated_response"
    assert second_verdict(pair(long, "Anna"), pair(short, "Anna")) == "repeated_response"
    assert second_verdict(pair(short, "Anna"), pair(long, "Tom")) == ""
    assert second_verdict(pair(short, "Yes"), pair(long, "Yes")) == ""
    off = DuplicatesConfig(max_overlap_same_response=1.1)
    assert second_verdict(pair(short, "Anna"), pair(long, "Anna"), off) == ""


def test_a_pair_that_was_not_added_claims_nothing() -> None:
    questions = QuestionSet(DuplicatesConfig())
    words = PairWords(pair("Who built it?"))
    assert [questions.verdict(words), questions.verdict(words)] == ["", ""]


def test_similarity_of_empty_sets_is_zero() -> None:
    assert jaccard(frozenset(), frozenset()) == 0
    assert jaccard(frozenset("ab"), frozenset("bc")) == pytest.approx(1 / 3)


@given(st.lists(st.text(alphabet="ab c?!A", max_size=12), max_size=12))
def test_kept_questions_are_unique_in_the_strict_sense(instructions: list[str]) -> None:
    questions = QuestionSet(DuplicatesConfig())
    kept = []
    for instruction in instructions:
        words = PairWords(pair(instruction))
        if not questions.verdict(words):
            questions.add(words)
            kept.append(words)
    keys = [question_key(words) for words in kept]
    assert len(keys) == len(set(keys))
    assert bool(kept) == bool(instructions)
