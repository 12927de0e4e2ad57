"""The table of refusals, meta talk, placeholders and markup: its own examples, and its limits."""

import pytest

from pipeline.contracts import Pair
from synth.quality.config import PhrasesConfig
from synth.quality.phrases import PhraseTable, phrase_rules
from synth.quality.text_index import TextIndex
from synth.quality.words import PairWords

TEXT = TextIndex("The lighthouse was built by Anna Vell in 1871.")
TABLE = PhraseTable(PhrasesConfig())
REASONS = {"refusal", "not_in_text", "meta_talk", "placeholder", "missing_gap", "leaked_markup"}
DROPS = [(rule.reason, rule.part, text) for rule in phrase_rules() for text in rule.drops]
KEEPS = [(rule.part, text) for rule in phrase_rules() for text in rule.keeps]


def pair_with(part: str, phrase: str) -> Pair:
    return Pair(phrase, "Anna Vell") if part == "instruction" else Pair("Who built it?", phrase)


def verdict(pair: Pair, index: TextIndex = TEXT, table: PhraseTable = TABLE) -> str:
    return table.verdict(index, PairWords(pair))


def test_the_table_has_what_it_should() -> None:
    assert {rule.reason for rule in phrase_rules()} == REASONS
    assert {rule.part for rule in phrase_rules()} == {"instruction", "response", "either"}
    assert all(rule.drops and rule.keeps and rule.cues for rule in phrase_rules())
    assert len(DROPS) > 60


@pytest.mark.parametrize(("reason", "part", "text"), DROPS)
def test_examples_fall_for_their_reason(reason: str, part: str, text: str) -> None:
    parts = ("instruction", "response") if part == "either" else (part,)
    for each in parts:
        assert verdict(pair_with(each, text)) == reason, each


@pytest.mark.parametrize(("part", "text"), KEEPS)
def test_near_misses_stay_under_every_rule(part: str, text: str) -> None:
    parts = ("instruction", "response") if part == "either" else (part,)
    for each in parts:
        assert verdict(pair_with(each, text)) == "", each


@pytest.mark.parametrize("phrase", ["I'm sorry, but I can\u2019t help with that.", "NOT MENTIONED"])
def test_case_and_apostrophes_do_not_matter(phrase: str) -> None:
    assert verdict(pair_with("response", phrase)) in REASONS


@pytest.mark.parametrize(
    ("text", "response"),
    [
        ('"As an AI, I have no body", said the robot in the film.', "As an AI, I have no body"),
        ("The page began with <s> and ended with </s>.", "It began with <s> and ended with </s>."),
        ("He wrote: let me know if you have time.", "Let me know if you have time"),
        (
            "Das wird im Text\nnicht erwähnt, schrieb der Kritiker.",
            "Das wird im Text nicht erwähnt",
        ),
    ],
)
def test_quotations_of_the_text_stay(text: str, response: str) -> None:
    pair = pair_with("response", response)
    assert verdict(pair) != ""
    assert verdict(pair, TextIndex(text)) == ""


def test_an_option_may_say_that_the_text_does_not() -> None:
    options = ("Yes", "No", "Not mentioned")
    assert verdict(Pair("Was it red?", "Not mentioned", "multiple_choice", options)) == ""
    assert verdict(Pair("Was it red?", "Not mentioned")) == "not_in_text"
    leak = Pair("Was it red?", "No</s>", "multiple_choice", ("Yes", "No</s>"))
    assert verdict(leak) == "leaked_markup"


def test_a_question_about_what_is_not_mentioned_stays() -> None:
    assert verdict(Pair("Which reason is not mentioned in the passage?", "the rent")) == ""


def test_a_reasoning_is_read_like_a_response() -> None:
    pair = Pair("Who built it?", "Anna", "chain_of_thought", (), "The passage does not say who.")
    assert verdict(pair) == "not_in_text"


@pytest.mark.timeout(60)  # a pattern that goes back and forth would take many minutes
@pytest.mark.parametrize("filler", [" ", "\n", "[", "<", "1", "_", "a ", "sorry ", "question "])
def test_long_runs_take_no_long_time(filler: str) -> None:
    run = filler * (2000 // len(filler))
    phrases = [text for _, _, text in DROPS]
    assert phrases
    for text in phrases:
        for long in (f"{text}{run}x", f"{run}{text}x"):
            for rule in phrase_rules():
                rule.find(long.casefold())


def test_allowed_reasons_are_let_through() -> None:
    lenient = PhraseTable(PhrasesConfig(allow=("not_in_text",)))
    assert verdict(pair_with("response", "Not mentioned"), table=lenient) == ""
    assert verdict(pair_with("response", "[answer]"), table=lenient) == "placeholder"
