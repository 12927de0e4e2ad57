"""The wire format and structured pairs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import Pair
from synth import wire
from synth.pairs import make_pair, structure_pair, unstructure_pair

PAIRS = [
    Pair("Who wrote it?", "Anna"),
    Pair("Which one?", "red", "multiple_choice", ("red", "blue")),
    Pair("How many?", "4", "chain_of_thought", (), "Two and two make four."),
    Pair("Which?", "b", "multiple_choice_cot", ("a", "b"), "Not a, so b."),
]
WITH_PERIODS = [
    Pair("Which?", "It is b.", "multiple_choice_cot", ("It is a.", "It is b."), "So."),
    Pair("Why?", "For the U.S.", "chain_of_thought", (), "So."),
]


def test_wire_format_to_the_letter() -> None:
    text = wire.format_context("T") + wire.format_pairs([Pair("q1", "a1"), Pair("q2", "a2")])
    assert text == (" <CON> T </CON>\n\n<QUE> q1 <ANS> a1 </END>\n\n<QUE> q2 <ANS> a2 </END>")


def test_the_four_formats_to_the_letter() -> None:
    assert [unstructure_pair(pair) for pair in PAIRS] == [
        ("Who wrote it?", "Anna"),
        ("Which one?\nOptions:\n- red\n- blue", "red"),
        (
            "How many?\nLet's think step by step.",
            "Two and two make four.\nTherefore, the answer is 4",
        ),
        (
            "Which?\nOptions:\n- a\n- b\nLet's think step by step.",
            "Not a, so b.\nTherefore, the answer is b",
        ),
    ]


@pytest.mark.parametrize("pair", PAIRS + WITH_PERIODS, ids=lambda pair: pair.kind)
def test_each_kind_round_trips(pair: Pair) -> None:
    assert structure_pair(*unstructure_pair(pair)) == pair


def test_a_whole_reply_round_trips() -> None:
    assert wire.parse_pairs(wire.format_pairs(PAIRS)).pairs == PAIRS


def _plain(text: str) -> str:
    """A text free of the format's own marks, as a well-formed pair's parts are."""
    for mark in ("<QUE>", "<ANS>", "</END>", "Options:", "Let's think", "Therefore,"):
        text = text.replace(mark, "")
    return text.strip()


PARTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60).map(_plain).filter(bool)
LINES = PARTS.map(lambda text: " ".join(text.split())).filter(bool)


@st.composite
def any_pair(draw: st.DrawFn) -> Pair:
    options = draw(st.lists(LINES, min_size=2, max_size=5, unique=True) | st.just([]))
    reasoning = draw(st.just("") | PARTS)
    response = draw(st.sampled_from(options)) if options else draw(PARTS)
    pair = make_pair(draw(PARTS), response, options, reasoning)
    assert isinstance(pair, Pair)
    return pair


@given(st.lists(any_pair(), max_size=5, unique_by=lambda pair: pair.instruction.casefold()))
def test_any_pairs_round_trip(pairs: list[Pair]) -> None:
    parsed = wire.parse_pairs(wire.format_pairs(pairs))
    assert parsed.pairs == pairs
    assert not parsed.dropped


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("<QUE> q <ANS> a", "unfinished_pair"),
        ("q <ANS> a </END>", "no_question_mark"),
        ("<QUE> q a </END>", "not_one_answer_mark"),
        ("<QUE> q <ANS> a <ANS> b </END>", "not_one_answer_mark"),
        ("<QUE>  <ANS> a </END>", "empty_question"),
        ("<QUE> q <ANS>  </END>", "empty_answer"),
        ("<QUE> q\nOptions:\n- x\n- y <ANS> z </END>", "answer_not_among_options"),
        ("<QUE> q\nLet's think step by step. <ANS> 4 </END>", "incomplete_reasoning"),
        ("<QUE> q <ANS> So.\nTherefore, the answer is 4 </END>", "incomplete_reasoning"),
        ("<QUE> q Let's think step by step. <ANS> 4 </END>", "incomplete_reasoning"),
    ],
)
def test_each_dropped_fragment_has_its_reason(output: str, reason: str) -> None:
    parsed = wire.parse_pairs(output)
    assert parsed.pairs == []
    assert parsed.dropped == {reason: 1}


def test_questions_are_deduplicated_whatever_their_case() -> None:
    parsed = wire.parse_pairs("<QUE> Who? <ANS> a </END>\n\n<QUE> WHO? <ANS> b </END>")
    assert parsed.pairs == [Pair("Who?", "a")]
    assert parsed.dropped == {"duplicate_question": 1}


def test_the_same_words_with_other_options_are_another_question() -> None:
    first = Pair("Which is true?", "a", "multiple_choice", ("a", "b"))
    second = Pair("Which is true?", "c", "multiple_choice", ("c", "d"))
    parsed = wire.parse_pairs(wire.format_pairs([first, second, first]))
    assert parsed.pairs == [first, second]
    assert parsed.dropped == {"duplicate_question": 1}


def test_options_are_lines_that_stand_there_once() -> None:
    made = make_pair("Which?", "a\u2028b", ("a\nb", "c", "c ", "", "d\u2028e"))
    assert made == Pair("Which?", "a b", "multiple_choice", ("a b", "c", "d e"))
    spread = structure_pair("Which?\nOptions:\n- a b\n\n- c\n- d e\n", "a b")
    assert spread == made
    assert structure_pair(*unstructure_pair(made)) == made


@pytest.mark.parametrize("listing", ["-x\n-y", "- x\n-", "- x\n-y", "(A) x\n(B) y", "x"])
def test_options_in_another_format_stay_in_the_question(listing: str) -> None:
    question = f"Which?\nOptions:\n{listing}"
    made = structure_pair(question, "x")
    assert made == Pair(question, "x")
    assert structure_pair(*unstructure_pair(made)) == made


@pytest.mark.parametrize("part", range(4))
def test_half_a_surrogate_pair_is_dropped(part: int) -> None:
    parts = ["Who?", "Anna", "red", "So."]
    parts[part] += "\ud83d"
    instruction, response, option, reasoning = parts
    assert make_pair(instruction, response, (response, option), reasoning) == "not_unicode"


@given(st.lists(st.sampled_from(["<QUE>", "<ANS>", "</END>", "\nOptions:\n- ", "x ", "\n"])))
def test_anything_parses(tokens: list[str]) -> None:
    output = "".join(tokens)
    parsed = wire.parse_pairs(output)
    assert len(parsed.pairs) <= output.count("</END>")


@given(st.binary(max_size=200))
def test_any_bytes_parse(data: bytes) -> None:
    text = data.decode(errors="replace")
    wire.parse_pairs(text)


def test_a_question_to_be_answered_again() -> None:
    assert wire.format_question(PAIRS[1]) == "<QUE> Which one?\nOptions:\n- red\n- blue <ANS>"
    assert wire.parse_answer(" red </END>\n\n<QUE> Why?") == "red"
