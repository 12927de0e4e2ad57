"""The miner as a whole: what it promises for any text."""

import random
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts import Pair
from synth.pairs import structure_pair, unstructure_pair
from synth.rules.config import DEFAULT_WEIGHTS, RulesConfig, RuleTask
from synth.rules.languages import load_language, table_codes
from synth.rules.mining import FINDERS, mine_pairs, mine_tasks
from tests.unit.synth.rules.texts import CHINESE, GLOSSARY, JAPANESE, LISTING, POLISH, RIVERS

TEXTS = [*RIVERS.values(), CHINESE, JAPANESE, POLISH, LISTING, GLOSSARY]
PLENTY = RulesConfig(max_pairs=50, max_per_task=50)
JUDGED = {"entailment", "paraphrase"}


def many(text: str, limits: RulesConfig = PLENTY, runs: int = 40) -> list[Pair]:
    return [pair for run in range(runs) for pair in mine_pairs(text, str(run), limits)]


def labels_of(code: str) -> set[str]:
    language = load_language(code)
    labels = {label for entry, _ in language.judgements for label in entry.labels.values()}
    return labels | set(language.connectives)


def plain(text: str) -> str:
    """Without what the miner may change: capitals, list marks, white space, the last period."""
    bare = re.sub(r"(?m)^- ", "", text).casefold().strip()
    return " ".join(bare.removesuffix(".").removesuffix("\u3002").split())


@pytest.mark.parametrize("text", TEXTS)
def test_same_identity_same_pairs_and_another_draws_anew(text: str) -> None:
    limits = RulesConfig()
    drawn = {tuple(mine_pairs(text, str(run), limits)) for run in range(12)}
    assert len(drawn) > 4
    random.seed(1)
    first = mine_pairs(text, "identity", limits)
    random.seed(2)
    assert first == mine_pairs(text, "identity", limits) != []


@pytest.mark.parametrize("text", TEXTS)
def test_responses_are_of_the_text_or_declared_labels(text: str) -> None:
    whole, labels = plain(text.replace("\n- ", "\n")), set().union(*map(labels_of, table_codes()))
    pairs = many(text)
    assert pairs
    for pair in pairs:
        assert plain(pair.response) in whole or pair.response in labels, pair


@pytest.mark.parametrize("text", TEXTS)
def test_questions_do_not_hold_their_answers(text: str) -> None:
    pairs = many(text)
    for pair in pairs:
        assert "{" not in pair.instruction
        assert "None" not in pair.instruction
        if pair.kind == "free_form":
            assert plain(pair.response) not in plain(pair.instruction), pair
        else:
            assert pair.response not in pair.instruction, pair
    assert {pair.kind for pair in pairs} <= {"free_form", "multiple_choice"}


@pytest.mark.parametrize("text", TEXTS)
def test_questions_of_a_text_are_unique(text: str) -> None:
    for run in range(30):
        questions = [pair.instruction.casefold() for pair in mine_pairs(text, str(run), PLENTY)]
        assert len(questions) == len(set(questions)) > 0


@pytest.mark.parametrize("text", TEXTS)
def test_pairs_survive_the_wire(text: str) -> None:
    for pair in many(text, runs=5):
        assert structure_pair(*unstructure_pair(pair)) == pair


def test_multiple_choice_has_distinct_options_and_its_answer_anywhere() -> None:
    places: Counter[int] = Counter()
    for text in RIVERS.values():
        for pair in many(text):
            if pair.options:
                assert len(set(pair.options)) == len(pair.options) >= 2
                places[pair.options.index(pair.response)] += 1
    assert len(places) >= 3
    assert min(places[0], places[1], places[2]) > 0.2 * sum(places.values())


@pytest.mark.parametrize(
    ("task", "good", "bad"),
    [
        (  # the verb of the effect comes after the cause
            "cause_effect",
            "The old mill by the river was closed because of the long drought in spring.",
            "The man sent away by reason of his great age is a source of regret to all.",
        ),
        (  # the cause explains a relative clause, not the sentence
            "cause_effect",
            "The bridge over the river was closed owing to the flood of that winter.",
            "The state has helped the towns which are poor owing to the flood of that winter.",
        ),
        (  # "usually" belongs to "because"
            "cause_effect",
            "The farmers of the valley were late because the roads were under water.",
            "The farmers of the valley were late usually because the roads were under water.",
        ),
        (  # a judgement, not a definition
            "definition",
            "A weir is a low wall built across a river to raise its level.",
            "A weir is the only result of the late and costly war in the north.",
        ),
    ],
)
def test_sentences_that_only_look_like_a_task_are_left(task: RuleTask, good: str, bad: str) -> None:
    def mined(sentence: str) -> bool:
        text = f"{sentence} Many people of the valley remember that year."
        limits = RulesConfig(tasks={task: 1})
        return any(mine_pairs(text, str(run), limits, "en") for run in range(20))

    assert mined(good)
    assert not mined(bad)


def test_but_little_opens_no_contrast() -> None:
    def openings(second: str) -> bool:
        text = f"The harvest of that year was very large. {second}"
        limits = RulesConfig(tasks={"entailment": 1})
        return any(mine_pairs(text, str(run), limits, "en") for run in range(20))

    assert openings("But the price of bread in the city was high.")
    assert not openings("But little of the grain in the city was sold.")


def test_limits_hold() -> None:
    for run in range(20):
        mined = mine_tasks(RIVERS["en"], str(run), RulesConfig(max_pairs=5, max_per_task=1))
        assert len(mined) == 5
        assert len({task for task, _ in mined}) == 5
        assert len(mine_pairs(RIVERS["en"], str(run), RulesConfig(max_pairs=3))) == 3
    assert len(mine_pairs(RIVERS["en"], "0", PLENTY)) > 6


def test_only_named_tasks_are_mined_and_weights_tell() -> None:
    only = RulesConfig(tasks={"definition": 1, "completion": 0})
    assert {task for task, _ in mine_tasks(RIVERS["en"], "x", only)} == {"definition"}
    tilted = RulesConfig(max_pairs=1, tasks={"gap": 9, "completion": 1})
    firsts = Counter(mine_tasks(RIVERS["en"], str(run), tilted)[0][0] for run in range(300))
    assert 0.8 < firsts["gap"] / 300 < 0.97


def test_no_two_pairs_take_up_the_same_sentence_as_their_answer() -> None:
    for run in range(30):
        answers = [
            pair.response
            for task, pair in mine_tasks(RIVERS["en"], str(run), PLENTY)
            if task in ("words_to_text", "cause_effect", "example", "summary")
        ]
        assert len(set(map(plain, answers))) == len(answers) > 0


def test_every_task_is_mined_from_some_text() -> None:
    found = {
        task
        for text in TEXTS
        for run in range(20)
        for task, _ in mine_tasks(text, str(run), PLENTY)
    }
    assert found == set(FINDERS) == set(DEFAULT_WEIGHTS)


@settings(max_examples=150, deadline=None)
@given(st.text(), st.text(max_size=8))
def test_any_string_is_mined_without_error(text: str, identity: str) -> None:
    assert mine_pairs(text, identity, RulesConfig()) == mine_pairs(text, identity, RulesConfig())


FRAGMENTS = st.sampled_from(
    [
        *(
            "Because ",
            "because ",
            "Therefore, ",
            "However",
            "; thus ",
            "In other words, ",
            " is a ",
        ),
        *(
            "The river",
            "it",
            " rose",
            ". ",
            ".",
            "...",
            "\n",
            "\n\n",
            "- ",
            "1. ",
            "# ",
            ": ",
            "，",
        ),
        *(
            "1902",
            "$3.50",
            "(",
            ")",
            '"',
            "\u201c",
            "河水上涨。",
            "因此，",
            "\u0130",
            "\ud800",
            "\r",
        ),
        *(
            "Mr. ",
            "U.S. ",
            " led to ",
            ", ",
            " weil ",
            "If ",
            "{effect}",
            "____",
            "Options:",
            "</END>",
        ),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(FRAGMENTS, max_size=60).map("".join), st.sampled_from([None, "", "en", "de", "xx"]))
def test_fragments_of_language_make_no_error(text: str, language: str | None) -> None:
    for pair in mine_pairs(text, "i", PLENTY, language):
        assert pair.instruction.strip()
        assert pair.response.strip()


MEGABYTE = 1_000_000


@pytest.mark.timeout(60)  # a quadratic pattern would take many minutes
@pytest.mark.parametrize(
    "unit",
    [
        *("because ", "x", ".", ". ", "A", "a.b", '."', "Because ", "; therefore ", "- \n", "\n"),
        *("If a, ", "The a is a ", " is a ", "1", "1,", "Word ", "Word-", "Word: \n", "1. ", "。"),
        *("He is so. But it is. ", "A:\n- b\n", "(", "# a\n", " \n", "$", "led to ", "\u2019"),
    ],
)
def test_a_megabyte_of_anything_takes_linear_time(unit: str) -> None:
    text = (unit * (MEGABYTE // len(unit) + 1))[:MEGABYTE]
    assert len(mine_pairs(text, "i", RulesConfig(), "en")) <= RulesConfig().max_pairs
