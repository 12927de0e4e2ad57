"""Repeats of the prompt and of the question."""

import pytest

from pipeline.contracts import Pair
from synth.quality.config import EchoConfig
from synth.quality.echo import echo_strings, echo_verdict
from synth.quality.text_index import TextIndex
from synth.quality.words import PairWords

TEXT = TextIndex("Bees dance in the hive to tell others where flowers grow. The dance is a code.")
EXAMPLES = echo_strings(
    [
        Pair("Who built the lighthouse at Cape Orrin?", "the engineer Anna Vell"),
        Pair("What is the main idea of the passage?", "Light saves ships at night."),
        Pair("Where do flowers grow?", "in the meadow"),
    ]
)


def verdict(pair: Pair, echoes: frozenset[str] = EXAMPLES) -> str:
    return echo_verdict(TEXT, PairWords(pair), echoes, EchoConfig())


@pytest.mark.parametrize(
    "pair",
    [
        Pair("Who built the lighthouse at Cape Orrin?", "the engineer Anna Vell"),
        Pair("who built the lighthouse at cape orrin", "The engineer Anna Vell."),
        Pair("Who built the lighthouse at Cape Orrin?", "the bees"),
        Pair("What is the main idea of the passage?", "Light saves ships at night"),
        Pair("Where do flowers grow?", "in the meadow"),
    ],
)
def test_examples_of_the_prompt_fall(pair: Pair) -> None:
    assert verdict(pair) == "echoes_prompt"
    assert verdict(pair, frozenset()) == ""


@pytest.mark.parametrize(
    "pair",
    [
        Pair("What is the main idea of the passage?", "Bees dance to tell of flowers."),
        Pair("Where do flowers grow?", "where the bees tell"),  # its words are the text's own
        Pair("Who built the hive at Cape Orrin?", "bees"),
    ],
)
def test_general_and_other_questions_stay(pair: Pair) -> None:
    assert verdict(pair) == ""


def test_a_response_that_is_the_instruction_falls() -> None:
    assert (
        verdict(Pair("Bees dance in the hive.", "bees dance in the hive")) == "repeats_instruction"
    )
    assert verdict(Pair("?", "!")) == ""


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        (
            Pair("Why do dancing bees in the hive move?", "dancing bees in the hive"),
            "answer_in_question",
        ),
        (Pair("Is it a dance of bees or a song of birds?", "a dance of bees"), ""),
        (Pair("Who dances in the hive, bees?", "bees"), ""),
        (Pair("Correct this: bees dances in hive", "bees dances in hive"), ""),
        (Pair('What does "bees dance in the hive" mean?', "bees dance in the hive"), ""),
        (
            Pair(
                "Which is true about bees dance code?",
                "bees dance code",
                "multiple_choice",
                ("bees dance code", "no"),
            ),
            "",
        ),
        (Pair("Tanzen Bienen im Stock oder Hummeln im Feld?", "Bienen im Stock"), ""),
    ],
)
def test_an_answer_given_away_falls_unless_it_is_offered(pair: Pair, reason: str) -> None:
    assert verdict(pair, frozenset()) == reason
