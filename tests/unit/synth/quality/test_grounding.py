"""Which responses their text supports."""

import pytest

from pipeline.contracts import Pair
from synth.quality.config import GroundingConfig
from synth.quality.grounding import (
    assess_grounding,
    grounding_score,
    grounding_verdict,
    question_verdict,
)
from synth.quality.text_index import TextIndex
from synth.quality.words import PairWords

EN = TextIndex(
    "The lighthouse at Cape Orrin was built in 1871 by the engineer Anna Vell. It burned whale oil "
    "until 1903, when electric lamps were installed. Twelve keepers lived there; 3,500 people "
    "visit it each year. Fishermen still steer by it at night."
)
DE = TextIndex(
    "Der Leuchtturm wurde 1871 von der Ingenieurin Anna Vell erbaut. Die Fischer richten sich noch "
    "heute nachts nach seinem Licht. Rund 3.500 Menschen besuchen ihn jedes Jahr."
)
ZH = TextIndex("奥林角的灯塔于1871年由工程师安娜建造。直到1903年,灯塔一直使用鲸油。")
JA = TextIndex("灯台は1871年に技師のアンナによって建てられました。鯨油を燃やしていました。")
COLOURS = TextIndex("The flag has a red field, a green stripe and a white star.")


def verdict(index: TextIndex, pair: Pair, config: GroundingConfig | None = None) -> str:
    return grounding_verdict(index, pair, PairWords(pair), config or GroundingConfig())


def choice(instruction: str, response: str, *others: str, reasoning: str = "") -> Pair:
    kind = "multiple_choice_cot" if reasoning else "multiple_choice"
    return Pair(instruction, response, kind, (response, *others), reasoning)  # type: ignore[arg-type]


def reasoned(instruction: str, response: str, reasoning: str) -> Pair:
    return Pair(instruction, response, "chain_of_thought", (), reasoning)


SUPPORTED = [
    (EN, Pair("Who built it?", "The engineer, Anna Vell.")),
    (EN, Pair("What is it used for?", "Fishermen steer by it.")),
    (EN, Pair("How did it change?", "In 1903 the whale oil lamps gave way to electric ones.")),
    (EN, Pair("How many visitors come?", "3500 visitors")),
    (EN, Pair("How many keepers were there?", "12")),
    (EN, Pair("How many keepers were there?", "Twelve.")),
    (EN, Pair("What happened?", "1. Built in 1871\n2. Electric lamps in 1903")),
    (EN, Pair("Is there any doubt about it?", "It was so.")),  # no content to judge by
    (DE, Pair("Wer baute ihn?", "die Ingenieurin Anna Vell")),
    (DE, Pair("Wie viele Besucher kommen?", "3500 Menschen")),
    (DE, Pair("Wer nutzt ihn?", "Der Fischer richtet sich nach dem Licht.")),
    (ZH, Pair("谁建造了灯塔?", "工程师安娜")),
    (ZH, Pair("灯塔使用什么?", "使用的是鲸油")),
    (JA, Pair("誰が建てましたか?", "技師のアンナです")),
    (JA, Pair("何を燃やしましたか?", "鯨油")),
]
UNSUPPORTED = [
    (EN, Pair("Who built it?", "King Harald of Norway"), "ungrounded"),
    (EN, Pair("What colour is it?", "Bright crimson with silver stripes"), "ungrounded"),
    (EN, Pair("When was it built?", "1872"), "number_not_in_text"),
    (
        EN,
        Pair("When was it built?", "It was built in 1871 and renewed in 1950."),
        "number_not_in_text",
    ),
    (EN, Pair("How many visitors come?", "35,000 people visit it"), "number_not_in_text"),
    (EN, Pair("How many visitors come?", "3 people visit it"), "number_not_in_text"),
    (DE, Pair("Wer baute ihn?", "König Harald von Norwegen"), "ungrounded"),
    (DE, Pair("Wann?", "1971"), "number_not_in_text"),
    (ZH, Pair("谁建造了灯塔?", "德国的皇帝威廉"), "ungrounded"),
    (ZH, Pair("什么时候?", "1972年"), "number_not_in_text"),
    (JA, Pair("誰が建てましたか?", "国王陛下"), "ungrounded"),
]


@pytest.mark.parametrize(("index", "pair"), SUPPORTED)
def test_supported_responses_stay(index: TextIndex, pair: Pair) -> None:
    assert verdict(index, pair) == ""


@pytest.mark.parametrize(("index", "pair", "reason"), UNSUPPORTED)
def test_unsupported_responses_fall(index: TextIndex, pair: Pair, reason: str) -> None:
    assert verdict(index, pair) == reason


@pytest.mark.parametrize(
    "pair",
    [
        Pair("True or false: the lighthouse burned coal until 1910.", "False"),
        Pair("Did the lighthouse burn whale oil?", "Yes"),
        choice('Does the text entail "Keepers lived there"?', "entailment", "neutral"),
        choice("What is the sentiment of the passage?", "neutral", "positive", "negative"),
        choice("Which category fits the lighthouse at Cape Orrin?", "Geography", "Sports"),
        Pair("Ist es wahr, dass Anna Vell Cape Orrin baute?", "ja"),
    ],
)
def test_labels_are_judged_by_their_instruction(pair: Pair) -> None:
    assert assess_grounding(EN, pair).evidence in ("instruction", "none")
    assert verdict(EN, pair) == ""


@pytest.mark.parametrize(
    ("instruction", "response", "reason"),
    [
        ("What is the tone of the passage?", "Informative and neutral", ""),
        ("Which genre best describes the text?", "travel writing", ""),
        (
            "What is the tone of the passage?",
            "The brass section plays in the key of D",
            "ungrounded",
        ),
        ("What type of oil did the lighthouse burn?", "olive", "ungrounded"),
        ("What class of ship steers by it?", "submarines", "ungrounded"),
    ],
)
def test_properties_of_the_text_are_labels_and_properties_of_things_are_not(
    instruction: str, response: str, reason: str
) -> None:
    assert verdict(EN, Pair(instruction, response)) == reason


def test_a_question_about_something_else_falls_where_support_is_asked_for() -> None:
    about = PairWords(Pair("What did the lighthouse burn?", "oil"))
    other = PairWords(Pair("Which volcano erupted?", "oil"))
    assert question_verdict(EN, about, 0.5) == ""
    assert question_verdict(EN, other, 0.5) == "question_beside_text"
    assert question_verdict(EN, other, 0.0) == ""


@pytest.mark.parametrize(
    ("text", "response"),
    [
        ("The canal cost $7 million in all.", "$7,000,000"),
        ("The canal cost 7,000,000 dollars.", "7 million dollars"),
        ("Der Turm hat zwanzig Stufen.", "20 Stufen"),
        ("La torre tiene treinta escalones.", "30 escalones"),
    ],
)
def test_numbers_are_found_however_they_are_written(text: str, response: str) -> None:
    assert verdict(TextIndex(text), Pair("How much, and of what?", response)) == ""


def test_a_label_about_something_else_falls() -> None:
    statement = "Photosynthesis converts sunlight into chemical energy in green plants."
    assert verdict(EN, Pair(f"True or false: {statement}", "true")) == "ungrounded"


def test_a_label_with_a_reasoning_is_judged_by_the_reasoning() -> None:
    labels = ("yes", "no")
    good = reasoned("Is it old?", "yes", "Anna Vell built it in 1871.")
    bad = reasoned("Did Anna Vell build the lighthouse?", "yes", "Volcanoes erupt magma violently.")
    assert {good.response, bad.response} <= set(labels)
    assert assess_grounding(EN, good).evidence == "reasoning"
    assert (verdict(EN, good), verdict(EN, bad)) == ("", "ungrounded")


def test_an_option_beside_supported_ones_is_judged_itself() -> None:
    assert verdict(EN, choice("What did it burn?", "whale oil", "coal")) == ""
    assert verdict(EN, choice("What did it burn?", "coal", "whale oil")) == "ungrounded"


def test_a_derived_number_needs_a_reasoning_that_uses_the_text() -> None:
    question = "How many years did it burn oil?"
    assert verdict(EN, Pair(question, "32 years")) == "number_not_in_text"
    assert verdict(EN, reasoned(question, "32 years", "From 1871 to 1903 it burned: 32.")) == ""
    made_up = reasoned(question, "32 years", "It burned from 1800 to 1832, so 32.")
    assert verdict(EN, made_up) == "number_not_in_text"


def test_a_count_can_be_derived_from_a_text_without_numbers() -> None:
    counted = reasoned("How many colours?", "3", "The flag has red, green and white: 3.")
    assert COLOURS.numbers == frozenset()
    assert verdict(COLOURS, counted) == ""
    unrelated = reasoned("How many colours?", "3", "Three kings ruled Sweden, Norway, Denmark.")
    assert verdict(COLOURS, unrelated) == "ungrounded"


def test_scores_grow_with_support() -> None:
    scores = [
        grounding_score(EN, Pair("What is said?", response))
        for response in (
            "submarine volcano",
            "submarine lamps",
            "electric lamps and a submarine",
            "lamps of electricity",
            "electric lamps were installed",
        )
    ]
    assert scores == sorted(scores)
    assert scores[0] == 0
    assert scores[-1] == 1
    assert 0 < scores[1] < scores[2] < 1
    assert grounding_score(EN, Pair("What is the tone?", "positive")) == 0.5


def test_thresholds_are_what_the_config_says() -> None:
    half = Pair("What is there?", "lamps and volcanoes")
    assert verdict(EN, half, GroundingConfig(min_support=0.5)) == ""
    assert verdict(EN, half, GroundingConfig(min_support=0.51)) == "ungrounded"
    wrong_year = Pair("When was it built?", "It was built by Anna Vell, the engineer, in 1872")
    assert verdict(EN, wrong_year) == "number_not_in_text"
    assert verdict(EN, wrong_year, GroundingConfig(numbers=False)) == ""


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("When was the bridge over the river built?", ""),
        ("Who was the first man on the moon?", "question_beside_text"),
        ("What?", "question_beside_text"),
        ("Was the bridge over the river built in 1850?", "answer_in_question"),
        ("When did the mayor open a school?", "question_beside_answer"),
        ("When did the flood come?", ""),
    ],
)
def test_a_question_to_a_given_answer_names_what_it_asks_about(question: str, reason: str) -> None:
    index = TextIndex(
        "The mayor opened a school. A flood came. The bridge over the river was built in 1850 by "
        "masons from the valley."
    )
    words = PairWords(Pair(question, "1850"))
    assert question_verdict(index, words, 0.5) == reason
    assert question_verdict(index, words, 0) == ""
