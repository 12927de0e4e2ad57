"""Loops of generation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import Pair
from synth.quality.config import RepetitionConfig
from synth.quality.repetition import is_loop, repetition_verdict
from synth.quality.words import PairWords, split_words

LOOPS = [
    "no no no no no no",
    "It is the lamp, the lamp, the lamp, the lamp, the lamp, the lamp.",
    "He went to the sea. He went to the sea. He went to the sea. He went to the sea. He went to "
    "the sea.",
    "灯塔很高灯塔很高灯塔很高灯塔很高灯塔很高灯塔很高",
    "哈哈哈哈哈哈哈哈",
    "The keeper saw the ship and lit the lamp. A storm came. The keeper saw the ship and lit the "
    "lamp. The keeper saw the ship and lit the lamp. Night fell. The keeper saw the ship and lit "
    "the lamp.",
]
HONEST = [
    "very, very, very old",
    "No, no, no!",
    "The old keeper lit the lamp, and the young keeper put out the lamp, and both kept the lamp.",
    "Row, row, row your boat, gently down the stream. Merrily, merrily, merrily, merrily, life is "
    "but a dream.",
    "| 1 | 2 |\n|---|---|\n| 1 | 3 |",
    "灯塔由工程师建造,灯塔至今仍在使用。",
    "人人为我,我为人人",
    "The United States of America signed it, and the United States of America kept it to the end.",
    "",
]


@pytest.mark.parametrize("text", LOOPS)
@pytest.mark.parametrize("part", ["instruction", "response", "reasoning"])
def test_loops_fall_in_any_part(text: str, part: str) -> None:
    parts = {"instruction": "Who lit it?", "response": "Anna", "reasoning": ""} | {part: text}
    pair = Pair(**parts)  # type: ignore[arg-type]
    assert repetition_verdict(PairWords(pair), RepetitionConfig()) == "repetition_loop"


@pytest.mark.parametrize("text", HONEST)
def test_honest_repeats_stay(text: str) -> None:
    assert repetition_verdict(PairWords(Pair(text, text)), RepetitionConfig()) == ""


@pytest.mark.parametrize("text", ["nooooooooooooo", "What??????????????", "\u0430" * 13])
def test_character_loops_fall(text: str) -> None:
    assert repetition_verdict(PairWords(Pair("Who?", text)), RepetitionConfig()) == "character_loop"


@pytest.mark.parametrize(
    "text", ["It was ____________ .", "------------", "1000000000000", "Brrr!!!"]
)
def test_gaps_rulers_and_zeros_stay(text: str) -> None:
    assert repetition_verdict(PairWords(Pair("Who?", text)), RepetitionConfig()) == ""


@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6, unique=True),
    st.integers(1, 9),
    st.integers(2, 5),
)
def test_a_phrase_falls_exactly_when_it_repeats_too_often(
    phrase: list[str], times: int, most: int
) -> None:
    config = RepetitionConfig(max_consecutive=most, min_words=1000)
    assert is_loop(phrase * times, config) == (times > most)
    assert is_loop(["x", *phrase * times, "y"], config) == (times > most)


def test_the_share_counts_sequences_seen_before() -> None:
    words = split_words("a b c d e f g h a b c d e f g h")  # 13 sequences of four words, 5 seen
    assert is_loop(words, RepetitionConfig(max_repeated_share=0.38))
    assert not is_loop(words, RepetitionConfig(max_repeated_share=0.39))
