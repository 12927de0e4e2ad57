"""All checks together: order, reasons, links, switches."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import validate
from pipeline.contracts import Pair
from pipeline.errors import InputError
from synth.pairs import structure_pair
from synth.quality.checks import FOLLOWS_A_DROPPED_PAIR, PairChecker
from synth.quality.config import ChecksConfig
from synth.quality.duplicates import question_key
from synth.quality.echo import echo_strings
from synth.quality.expectations import Expectations
from synth.quality.words import PairWords

TEXT = (
    "The lighthouse at Cape Orrin was built in 1871 by the engineer Anna Vell. It burned whale oil "
    "until 1903, when electric lamps were installed. Fishermen still steer by it at night."
)
GOOD = [
    Pair("Who built the lighthouse at Cape Orrin?", "the engineer Anna Vell"),
    Pair("What did the lighthouse burn until 1903?", "whale oil"),
    Pair("Who still steers by the lighthouse at night?", "Fishermen"),
    Pair(
        "How long did it burn oil?", "32 years", "chain_of_thought", (), "1871 to 1903: 32 years."
    ),
    Pair("Is the lighthouse still in use?", "Yes", "multiple_choice", ("Yes", "No")),
]
BAD = [
    (Pair("Who?", "Anna Vell"), "instruction_too_short"),
    (Pair("What did it burn at first?", "oil oil oil oil oil oil"), "repetition_loop"),
    (Pair("What colour is the lighthouse?", "The passage does not mention it."), "not_in_text"),
    (
        Pair("Wer hat den Leuchtturm an der Küste des Landes denn erbaut?", "Anna"),
        "language_mismatch",
    ),
    (Pair("What colour is the lighthouse?", "Bright crimson paint"), "ungrounded"),
    (Pair("When did it open?", "in 1899"), "number_not_in_text"),
    (Pair("who built the Lighthouse, at Cape Orrin", "Anna Vell"), "duplicate_question"),
]
CHECKER = PairChecker(ChecksConfig())


def reasons(pairs: list[Pair], config: ChecksConfig | None = None, **options: object) -> list[str]:
    checker = PairChecker(config) if config else CHECKER
    checked = checker.check(TEXT, pairs, Expectations(**options))  # type: ignore[arg-type]
    assert len(checked.kept) + len(checked.dropped) == len(pairs)
    return [reason for _, reason in checked.dropped]


def off(*names: str) -> ChecksConfig:
    return ChecksConfig.model_validate({name: {"enabled": False} for name in names})


def test_good_pairs_stay_and_bad_ones_fall_in_order() -> None:
    mixed = [*GOOD[:2], *(pair for pair, _ in BAD), *GOOD[2:]]
    checked = CHECKER.check(TEXT, mixed)
    assert checked.kept == GOOD
    assert checked.dropped == BAD


@pytest.mark.parametrize(
    ("name", "pair", "reason"),
    [
        ("length", BAD[0][0], "instruction_too_short"),
        ("repetition", BAD[1][0], "repetition_loop"),
        ("phrases", Pair("Who built the tower?", "Anna Vell</s>"), "leaked_markup"),
        ("language", BAD[3][0], "language_mismatch"),
        ("grounding", BAD[4][0], "ungrounded"),
        (
            "duplicates",
            Pair("Who built the lighthouse at Cape Orrin?", "Vell"),
            "duplicate_question",
        ),
    ],
)
def test_each_check_can_be_switched_off(name: str, pair: Pair, reason: str) -> None:
    assert reasons([GOOD[0], pair]) == [reason]
    assert reasons([GOOD[0], pair], off(name)) == []


def test_echoes_fall_and_the_check_can_be_switched_off() -> None:
    echoes = echo_strings([Pair("Which bird sings in Aunt Clara's garden?", "whale oil")])
    pair = Pair("Which bird sings in Aunt Clara's garden?", "whale oil")
    assert reasons([pair]) == []
    assert reasons([pair], echoes=echoes) == ["echoes_prompt"]
    assert reasons([pair], off("echo"), echoes=echoes) == []


def test_the_earlier_check_names_the_reason() -> None:
    looping_and_too_short = Pair("Who?", "gold gold gold gold gold gold")
    assert reasons([looping_and_too_short]) == ["instruction_too_short"]
    assert reasons([looping_and_too_short], off("length")) == ["repetition_loop"]
    assert reasons([looping_and_too_short], off("length", "repetition")) == ["ungrounded"]


def test_a_dropped_pair_claims_no_question() -> None:
    wrong, right = Pair(GOOD[0].instruction, "King Harald"), GOOD[0]
    checked = CHECKER.check(TEXT, [wrong, right])
    assert (checked.kept, checked.dropped) == ([right], [(wrong, "ungrounded")])


def test_linked_pairs_break_off_at_the_first_drop() -> None:
    pairs = [GOOD[0], BAD[4][0], GOOD[1], BAD[0][0]]
    checked = CHECKER.check(TEXT, pairs, Expectations(is_linked=True))
    assert checked.kept == [GOOD[0]]
    assert [reason for _, reason in checked.dropped] == [
        *("ungrounded", FOLLOWS_A_DROPPED_PAIR, FOLLOWS_A_DROPPED_PAIR)
    ]
    assert CHECKER.check(TEXT, GOOD, Expectations(is_linked=True)).kept == GOOD


def test_a_style_may_ask_for_other_words_than_those_of_the_text() -> None:
    summary = Pair(
        "Sum up the passage.", "Anna Vell erected a tall beacon for sailors at Cape Orrin"
    )
    assert reasons([summary]) == ["ungrounded"]
    assert reasons([summary], min_support=0.4) == []
    assert reasons([summary], min_support=0.95) == ["ungrounded"]


def test_no_pairs_and_no_text() -> None:
    assert CHECKER.check(TEXT, []).kept == []
    assert CHECKER.check("", [GOOD[0]]).dropped == [(GOOD[0], "ungrounded")]


def test_the_config_reads_as_toml_tables() -> None:
    values = {"grounding": {"min_support": 0.9}, "language": {"enabled": False}}
    config = validate(ChecksConfig, values, "run.toml")
    assert (config.grounding.min_support, config.language.enabled) == (0.9, False)
    assert config.scorer is None
    assert config.length.enabled
    with pytest.raises(InputError, match="did you mean 'min_support'"):
        validate(ChecksConfig, {"grounding": {"min_suport": 0.9}}, "run.toml")
    with pytest.raises(InputError, match=r"scorer\.model"):
        validate(ChecksConfig, {"scorer": {"min_score": 0.9}}, "run.toml")


ANY_PAIR = st.builds(
    Pair,
    st.text(),
    st.text(),
    st.sampled_from(["free_form", "chain_of_thought"]),
    st.just(()),
    st.text(),
)
PIECES = st.sampled_from(
    [*TEXT.split(), "Who", "?", "1871", "灯", "塔", "\n", "3,5", "not", "{", "é"]
)
LIKELY_PAIR = st.builds(
    lambda question, answer: Pair(" ".join(question), " ".join(answer)),
    st.lists(PIECES, max_size=12),
    st.lists(PIECES, max_size=30),
)


@settings(deadline=None)
@given(st.text() | st.just(TEXT), st.lists(ANY_PAIR | LIKELY_PAIR, max_size=8), st.booleans())
def test_any_strings_are_checked(text: str, pairs: list[Pair], linked: bool) -> None:
    expected = Expectations(echo_strings(pairs[:1]), linked)
    checked = CHECKER.check(text, pairs, expected)
    positions = {id(pair): position for position, pair in enumerate(pairs)}
    for part in (checked.kept, [pair for pair, _ in checked.dropped]):
        order = [positions[id(pair)] for pair in part]
        assert order == sorted(order)
    assert len(checked.kept) + len(checked.dropped) == len(pairs)
    assert all(reason.isidentifier() and reason.islower() for _, reason in checked.dropped)
    keys = [question_key(PairWords(pair)) for pair in checked.kept]
    assert len(keys) == len(set(keys))
    if linked:
        assert checked.kept == pairs[: len(checked.kept)]
    assert CHECKER.check(text, pairs, expected) == checked


@given(st.text(), st.text())
def test_what_the_parser_makes_is_checked(question: str, answer: str) -> None:
    pair = structure_pair(question, answer)
    if isinstance(pair, Pair):
        checked = CHECKER.check(answer, [pair])
        assert len(checked.kept) + len(checked.dropped) == 1
