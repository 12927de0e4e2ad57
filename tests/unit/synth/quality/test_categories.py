"""Task categories: each example in its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import Pair
from synth.quality.categories import OTHER, CategoryRule, categorise, category_rules

RULES = category_rules()


def test_there_are_at_least_forty_categories() -> None:
    assert len({rule.name for rule in RULES}) >= 40
    assert OTHER not in {rule.name for rule in RULES}
    assert len({rule.example.instruction for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", RULES, ids=[f"{i}-{rule.name}" for i, rule in enumerate(RULES)])
def test_every_example_is_taken_by_its_own_row(rule: CategoryRule) -> None:
    instruction, response = rule.example.instruction.casefold(), rule.example.response.casefold()
    first = next(each for each in RULES if each.fits(instruction, response))
    assert first is rule
    assert categorise(rule.example) == rule.name


@pytest.mark.parametrize(
    ("instruction", "response", "category"),
    [
        ("What year did the war end?", "1945", "when"),
        ("Who signed the report for the council?", "Anna", "who"),
        ("What function does the liver have?", "filter", "what"),
        ("How did he finish the race?", "first", "how"),
        ("What was on the table?", "a lamp", "what"),
        ("What was the rate of inflation?", "3%", "what"),
        ("What means of transport did they use?", "trains", "what"),
        ("Does the law apply to children?", "No", "yes_no"),
        ("Ist der Turm alt?", "Ja", "yes_no"),
        ("Wer baute den Turm?", "Anna", "who"),
        ("Wie viele Menschen kamen?", "12", "how_many"),
        ("Pourquoi la lampe fut-elle remplacée ?", "le prix", "why"),
        ("¿Cuándo se construyó el faro?", "1871", "when"),
        ("谁建造了灯塔?", "安娜", "who"),
        ("なぜ灯台は建てられましたか?", "嵐", "why"),
        ("Где стоит маяк?", "на мысе", "where"),
        ("HOW MANY KEEPERS?", "12", "how_many"),
        ("Who was the first person to walk on the Moon?", "Armstrong", "who"),
        ("How many steps are in the tower?", "12", "how_many"),
        ("When did Python appear?", "1991", "when"),
        ("What does DNA stand for?", "deoxyribonucleic acid", "definition"),
        ("Why did sales increase after the lessons?", "word spread", "why"),
        ("Was the man angry?", "very", "yes_no"),
        ("Who found blank pages?", "Anna", "who"),
        ("Lamps and oil.", "yes", OTHER),
    ],
)
def test_questions_of_many_kinds_and_languages(
    instruction: str, response: str, category: str
) -> None:
    assert categorise(Pair(instruction, response)) == category


@given(st.text(), st.text())
def test_any_strings_have_a_category(instruction: str, response: str) -> None:
    assert categorise(Pair(instruction, response)) in {OTHER, *(rule.name for rule in RULES)}
