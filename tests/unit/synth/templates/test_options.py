"""Order and labels of options."""

import random
import re

import pytest

from pipeline.contracts import Pair
from synth.templates.labels import LOWER, NUMBERS, ROMAN, UPPER, LabelStyle
from synth.templates.options import arrange_options
from synth.templates.pools import shipped_pools

STYLES = shipped_pools().options.styles
BULLETS = [style for style in STYLES if not style.symbols]
WORDS = ("alpha tango", "bravo tango", "charlie tango", "delta tango")


def choice(
    *options: str, right: str = "", instruction: str = "Which?", reasoning: str = ""
) -> Pair:
    return Pair(instruction, right or options[0], "multiple_choice", options, reasoning)


def styled(symbols: tuple[str, ...]) -> LabelStyle:
    return next(style for style in STYLES if style.symbols == symbols)


def orders(pair: Pair, num_draws: int = 200) -> set[tuple[str, ...]]:
    return {
        arrange_options(pair, STYLES[number % len(STYLES)], random.Random(number))[0]
        for number in range(num_draws)
    }


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.lines(("x",))[0])
def test_the_answer_points_at_the_right_option(style: LabelStyle) -> None:
    for seed, right in enumerate(WORDS * 3):
        options, used = arrange_options(choice(*WORDS, right=right), style, random.Random(seed))
        assert used == style
        assert sorted(options) == sorted(WORDS)
        answer, lines = style.answer_to(options, right), style.lines(options)
        line = next(line for line in lines if line.endswith(right))
        if not style.symbols:
            assert answer == right
            continue
        mark = line.removesuffix(right)
        assert re.findall(r"\w+", mark)[-1] == re.findall(r"\w+", answer)[-1]
        assert answer not in [style.answer_to(options, other) for other in WORDS if other != right]


def test_options_are_shuffled_to_every_place() -> None:
    firsts = [
        arrange_options(choice(*WORDS), STYLES[0], random.Random(number))[0][0]
        for number in range(4_000)
    ]
    assert all(abs(firsts.count(word) / 4_000 - 0.25) < 0.03 for word in WORDS)


@pytest.mark.parametrize(
    "last",
    [
        "none of the above",
        "None of the above.",
        "All of the above",
        "all the above",
        "None of these",
        "Any of the other options",
        "none of the answers",
        "All of these choices are right",
        "None",
    ],
)
def test_what_speaks_of_all_options_stays_last(last: str) -> None:
    found = orders(choice("red", "green", "blue", last))
    assert {order[-1] for order in found} == {last}
    assert len(found) == 6


def test_all_and_none_keep_their_order_at_the_end() -> None:
    found = orders(choice("red", "green", "All of the above", "None of the above"))
    assert {order[-2:] for order in found} == {("All of the above", "None of the above")}
    assert len(found) == 2


@pytest.mark.parametrize(
    "option",
    [
        "both of the above",
        "Neither of these",
        "Both",
        "Either of the other options",
        "the first option and more",
        "Only the first two",
        "two of the above",
    ],
)
def test_what_speaks_of_places_keeps_the_order(option: str) -> None:
    pair = choice("red", "green", option)
    assert orders(pair) == {pair.options}


@pytest.mark.parametrize(
    ("option", "symbols"),
    [
        ("both A and B", UPPER),
        ("Both (A) and (B)", UPPER),
        ("A and B", UPPER),
        ("Neither A nor B.", UPPER),
        ("Only A", UPPER),
        ("options A, B", UPPER),
        ("the same as option B", UPPER),
        ("both a and b", LOWER),
        ("Both 1 and 2", NUMBERS),
        ("I and II", ROMAN),
    ],
)
def test_options_that_name_others_keep_order_and_symbols(
    option: str, symbols: tuple[str, ...]
) -> None:
    pair = choice("red", "green", option)
    for style in STYLES:
        options, used = arrange_options(pair, style, random.Random(0))
        assert options == pair.options
        assert used.symbols == symbols
        assert used.label == style.label or not style.symbols


@pytest.mark.parametrize(
    ("instruction", "reasoning", "symbols"),
    [
        ("Which?", "Option B is named in the text, so B.", UPPER),
        ("Which?", "The answer is (C).", UPPER),
        ("Why is choice 2 wrong?", "", NUMBERS),
        ("Which?", "A is too small. B is named in the text.", UPPER),
        ("Which?", "Neither C nor D. B was meant.", UPPER),
        ("Which?", "Options b) and c) are wrong.", LOWER),
        ("Is option (b) right?", "", LOWER),
    ],
)
def test_a_letter_in_question_or_reasoning_keeps_its_meaning(
    instruction: str, reasoning: str, symbols: tuple[str, ...]
) -> None:
    pair = choice(*WORDS, instruction=instruction, reasoning=reasoning)
    for style in STYLES:
        options, used = arrange_options(pair, style, random.Random(0))
        assert (options, used.symbols) == (WORDS, symbols)


@pytest.mark.parametrize(
    ("instruction", "reasoning", "is_kept"),
    [
        ("Which?", "The second option matches the text.", True),
        ("Is the first option or the last option right?", "", True),
        ("Which?", "Neither of the others fits.", True),
        ("Which option would a reader choose?", "", False),
        ("Which?", "The second king was the first to ride.", False),
        ("Which of a hundred?", "It is a matter of taste.", False),
    ],
)
def test_places_named_in_question_or_reasoning_keep_the_order(
    instruction: str, reasoning: str, is_kept: bool
) -> None:
    found = orders(choice(*WORDS, instruction=instruction, reasoning=reasoning))
    assert (found == {WORDS}) is is_kept
    assert is_kept or len(found) == 24


def test_statements_of_the_question_are_not_mistaken_for_options() -> None:
    pair = choice("I only", "II only", "I and II", "none of the above")
    assert len(orders(pair)) == 6
    assert arrange_options(pair, styled(ROMAN), random.Random(0))[1].symbols == UPPER
    assert arrange_options(pair, styled(NUMBERS), random.Random(0))[1].symbols == NUMBERS


@pytest.mark.parametrize(
    "options",
    [("2", "1", "3"), ("B", "A"), ("ii", "i"), ("(b)", "(a)")],
)
def test_options_that_look_like_labels_get_bullets(options: tuple[str, ...]) -> None:
    system = {"2": NUMBERS, "B": UPPER, "i": ROMAN, "(": LOWER}[options[0][0]]
    pair = choice(*options)
    shown, used = arrange_options(pair, styled(system), random.Random(0))
    assert not used.symbols
    assert used.answer_to(shown, pair.response) == pair.response
    assert arrange_options(choice("20", "10"), styled(NUMBERS), random.Random(0))[1].symbols


def test_options_with_labels_of_their_own_stay_as_they_are() -> None:
    pair = choice("A) red", "B) green", "C) blue", right="B) green")
    for style in STYLES:
        options, used = arrange_options(pair, style, random.Random(1))
        assert used.lines(options) == list(pair.options)
        assert used.answer_to(options, pair.response) == "B) green"
    assert len(orders(choice("A. Smith", "C. Jones", "B. Hill"))) == 6


def test_content_with_commas_and_conjunctions_is_shuffled() -> None:
    pair = choice("bread and salt", "1, 2", "gold, or silver", "all of France")
    assert len(orders(pair, 2_000)) == 24


def test_more_options_than_symbols_get_bullets() -> None:
    pair = choice(*(f"word {number}" for number in range(40)))
    options, used = arrange_options(pair, styled(UPPER), random.Random(0))
    assert not used.symbols
    assert len(used.lines(options)) == 40


def test_a_response_that_is_no_option_is_answered_as_it_is() -> None:
    assert styled(UPPER).answer_to(("red", "green"), "blue") == "blue"


def test_there_are_bullets_and_labels() -> None:
    assert len(BULLETS) > 15
    assert len(STYLES) - len(BULLETS) > 60
