"""Whether a second answer agrees with the first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import Pair
from synth.quality.agreement import DISAGREES, answers_agree, chosen_option, token_f1

OPTIONS = ("red", "dark red", "blue", "2 or more")


def agree(first: Pair, second: str, min_f1: float = 0.5) -> bool:
    verdict = answers_agree(first, second, min_f1)
    assert verdict in ("", DISAGREES)
    return verdict == ""


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("the engineer Anna Vell", "Anna Vell", True),
        ("Anna Vell", "anna vell, the engineer!", True),
        ("Anna Vell", "Tom", False),
        ("whale oil", "It burned whale oil.", True),
        ("whale oil", "electric lamps", False),
        ("1871", "in 1871", True),
        ("1871", "in 1872", False),
        ("1871", "1871 or 1872", False),
        ("3,500 visitors", "3500", True),
        ("12 keepers", "twelve", True),
        ("twelve", "12", True),
        ("5 million", "5,000,000", True),
        ("yes", "Yes, it did.", True),
        ("Yes", "No, it did not.", False),
        ("Yes", "It did.", False),
        ("鲸油", "鲸油。", True),
        ("鲸油", "电灯", False),
        ("", "", True),
        ("...", "whale oil", False),
    ],
)
def test_free_answers(first: str, second: str, expected: bool) -> None:
    assert agree(Pair("What?", first), second) == expected


@pytest.mark.parametrize(
    ("answer", "option"),
    [
        ("red", "red"),
        ("Dark Red.", "dark red"),
        ("B", "dark red"),
        ("(c)", "blue"),
        ("3", "blue"),
        ("Option A", "red"),
        ("c) blue", "blue"),
        ("It is dark red", "dark red"),
        ("Therefore the wall is blue", "blue"),
        ("red or blue", ""),
        ("green", ""),
        ("z", ""),
        ("", ""),
    ],
)
def test_an_answer_names_an_option(answer: str, option: str) -> None:
    assert chosen_option(OPTIONS, answer) == option


def test_options_agree_only_by_naming_the_same() -> None:
    pair = Pair("Which?", "dark red", "multiple_choice", OPTIONS)
    assert agree(pair, "b", min_f1=1)
    assert not agree(pair, "red", min_f1=0)


def test_the_final_answer_of_a_reasoning_counts() -> None:
    pair = Pair("How long?", "32 years", "chain_of_thought", (), "1903 - 1871 = 32")
    assert agree(pair, "From 1871 to 1903.\nTherefore, the answer is 32.")
    assert agree(pair, "1903 - 1871 = 32")
    assert not agree(pair, "From 1871 to 1903.\nTherefore, the answer is 30.")


def test_f1_is_squads() -> None:
    # 2 shared of 3 and 4 tokens once the article is gone: P = 2/4, R = 2/3
    assert token_f1("the old whale oil", "whale oil of Japan") == pytest.approx(4 / 7)
    assert token_f1("oil oil", "oil") == pytest.approx(2 / 3)
    assert agree(Pair("What?", "the old whale oil"), "whale oil of Japan", 0.57)
    assert not agree(Pair("What?", "the old whale oil"), "whale oil of Japan", 0.58)


@given(st.text(), st.text(), st.lists(st.text(), max_size=3))
def test_any_strings_are_compared(first: str, second: str, options: list[str]) -> None:
    f1 = token_f1(first, second)
    assert 0 <= f1 <= 1
    assert f1 == pytest.approx(token_f1(second, first))
    assert token_f1(first, first) == 1
    agree(Pair("?", first), second)
    if options:
        choice = Pair("?", options[0], "multiple_choice", tuple(options))
        agree(choice, second)
