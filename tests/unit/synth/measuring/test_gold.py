"""Written pairs against gold pairs, by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import Pair
from synth.measuring.gold import match_gold

GOLD = Pair("Who dug the canal?", "Farmers")
PAIRS = st.lists(
    st.builds(Pair, *[st.text("ab ", min_size=1, max_size=6)] * 2), min_size=1, max_size=4
)


def test_the_nearest_pair_is_the_match() -> None:
    near = Pair("Who dug the old canal?", "Farmers of the town")
    match = match_gold([GOLD], [Pair("When was it dug?", "In 1817"), near])
    # who dug canal / who dug old canal; farmers / farmers of town
    assert match.question_f1 == pytest.approx(2 * 3 / (3 + 4))
    assert match.answer_f1 == pytest.approx(2 * 1 / (1 + 3))


def test_question_and_answer_choose_the_match_together() -> None:
    same_question = Pair("Who dug the canal?", "A company of six hundred hired men from abroad")
    same_answer = Pair("Who dug a canal then?", "Farmers")
    # Against "who dug canal farmers" (4): 3 of 12 words, and 4 of 5 words.
    match = match_gold([GOLD], [same_question, same_answer])
    assert match.question_f1 == pytest.approx(2 * 3 / (3 + 4))
    assert match.answer_f1 == 1.0


def test_gold_pairs_count_alike_and_may_share_a_match() -> None:
    other = Pair("Why?", "Because barges were cheaper")
    match = match_gold([GOLD, other], [GOLD])
    assert (match.question_f1, match.answer_f1) == (0.5, 0.5)
    assert match_gold([GOLD, GOLD], [GOLD]).question_f1 == 1.0


def test_nothing_written_matches_nothing() -> None:
    match = match_gold([GOLD], [])
    assert (match.question_f1, match.answer_f1) == (0.0, 0.0)


def test_of_matches_that_are_as_near_the_one_that_is_it_in_its_parts() -> None:
    swapped = Pair("farmers", "Who dug canal?")
    match = match_gold([GOLD], [swapped, GOLD])
    assert (match.question_f1, match.answer_f1) == (1.0, 1.0)


@given(PAIRS, PAIRS)
def test_gold_itself_is_the_best_there_is(gold: list[Pair], others: list[Pair]) -> None:
    match = match_gold(gold, others)
    assert 0 <= match.question_f1 <= 1
    assert 0 <= match.answer_f1 <= 1
    itself = match_gold(gold, gold)
    assert itself.question_f1 >= match.question_f1
    assert itself.answer_f1 >= match.answer_f1
