"""Sizes of a pair's parts."""

import pytest

from pipeline.contracts import Pair
from synth.quality.config import LengthConfig
from synth.quality.length import length_verdict
from synth.quality.words import PairWords

NARROW = LengthConfig(
    min_instruction_words=2,
    max_instruction_words=5,
    min_response_words=2,
    max_response_words=5,
    min_reasoning_words=3,
    max_reasoning_words=5,
)


def verdict(instruction: str, response: str, reasoning: str = "") -> str:
    kind = "chain_of_thought" if reasoning else "free_form"
    pair = Pair(instruction, response, kind, (), reasoning)  # type: ignore[arg-type]
    return length_verdict(PairWords(pair), NARROW)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        (("Who left?", "Anna Vell"), ""),
        (("Who was it that left?", "Anna Vell and her dog"), ""),
        (("Who left?", "Anna Vell", "She took a boat."), ""),
        (("Who?", "Anna Vell"), "instruction_too_short"),
        (("Who was it that left us?", "Anna Vell"), "instruction_too_long"),
        (("Who left?", "Anna"), "response_too_short"),
        (("Who left?", "..."), "response_too_short"),
        (("Who left?", "Anna Vell and her old dog"), "response_too_long"),
        (("Who left?", "Anna Vell", "By boat."), "reasoning_too_short"),
        (("Who left?", "Anna Vell", "She took a boat at night."), "reasoning_too_long"),
        (("谁离开了?", "工程师安"), ""),
        (("谁?", "工程师安"), "instruction_too_short"),
        (("谁离开了?", "工程"), "response_too_short"),
        (("谁离开了?", "工程师安娜和她的老狗也走了"), "response_too_long"),
    ],
)
def test_each_part_has_its_bounds(parts: tuple[str, ...], reason: str) -> None:
    assert verdict(*parts) == reason


def test_encoded_data_is_no_language() -> None:
    assert verdict("Who left?", "Anna " + "QUJD" * 50) == "unbroken_characters"


def test_defaults_keep_a_one_word_answer() -> None:
    assert length_verdict(PairWords(Pair("Who left?", "Anna")), LengthConfig()) == ""
    long = PairWords(Pair("Who left?", "word " * 401))
    assert length_verdict(long, LengthConfig()) == "response_too_long"
