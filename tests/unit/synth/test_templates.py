"""Pairs into text."""

from pipeline.contracts import Chain, Pair, Shot
from synth.templates import draw_layout, render_chain


def make_chain(identity: str, *shots: Shot) -> Chain:
    return Chain(identity, "s", shots, {})


FULL = Shot(
    "d",
    "Some text.",
    (Pair("Braces {a} stay?", "{q}"), Pair("Which?", "y", "multiple_choice", ("x", "y"))),
)


def test_text_and_all_pairs_are_there_whatever_the_layout() -> None:
    for number in range(300):
        text = render_chain(make_chain(f"id{number}", FULL, FULL), seed=0)
        assert text.count("Some text.") == 2
        assert text.count("Braces {a} stay?") == 2
        assert "{q}" in text
        assert "{text}" not in text


def test_the_layout_depends_on_content_and_seed_alone() -> None:
    chain = make_chain("id", FULL)
    assert render_chain(chain, 0) == render_chain(chain, 0)
    assert len({draw_layout("id", seed) for seed in range(50)}) > 20


def test_about_one_example_in_twenty_is_inverted() -> None:
    share = sum(draw_layout(str(number), 0).is_inverted for number in range(4000)) / 4000
    assert 0.035 < share < 0.065


def test_a_text_without_pairs_stays_bare() -> None:
    assert render_chain(make_chain("id", Shot("d", "Bare.", ())), 0) == "Bare."
