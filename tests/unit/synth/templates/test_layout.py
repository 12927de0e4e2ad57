"""Draws: their shares, and that each is independent of the others and of its neighbours."""

import itertools

import numpy as np
import pytest

from synth.templates.layout import Layout, draw_layout, stream_of
from synth.templates.pools import shipped_pools

NUM_DRAWS = 100_000


def draw(identity: str, seed: int = 0, *, has_several: bool = True) -> Layout:
    return draw_layout(stream_of(identity, seed), shipped_pools(), has_several=has_several)


def components(layout: Layout) -> tuple[object, ...]:
    """What is drawn by a number of its own, whatever the mode."""
    return (
        layout.pairs.frames[0],
        layout.pairs.frames[1],
        layout.pairs.frames[3],
        layout.pairs.cue,
        layout.pairs.answer_lead,
        layout.pairs.options_intro,
        layout.talk.intro,
        layout.numbered,
        layout.next_turn.opening,
        layout.few_shot.intro,
        layout.comprehension_gap,
        layout.pairs.labels.label,
        layout.is_inverted,
        layout.mode,
    )


@pytest.fixture(scope="module")
def draws() -> np.ndarray:
    """Components of 100,000 layouts as numbers [draw, component], int64."""
    numbers: list[dict[object, int]] = [{} for _ in components(draw("0"))]
    rows = [
        [seen.setdefault(part, len(seen)) for seen, part in zip(numbers, parts, strict=True)]
        for parts in (components(draw(f"{number:032x}")) for number in range(NUM_DRAWS))
    ]
    return np.array(rows)


def chi_square(observed: np.ndarray, expected: np.ndarray) -> float:
    return float(((observed - expected) ** 2 / expected).sum())


def shares_of(column: np.ndarray) -> np.ndarray:
    return np.bincount(column) / len(column)


@pytest.mark.parametrize(
    "columns", [(0, 1, 2), (2, 3, 4, 6), (0, 8, 9, 4), (1, 6, 7, 5), (0, 1, 11)]
)
def test_draws_are_as_distinct_as_independence_predicts(
    draws: np.ndarray, columns: tuple[int, ...]
) -> None:
    shares = np.ones(1)
    for column in columns:
        shares = np.outer(shares, shares_of(draws[:, column])).ravel()
    assert len(shares) >= 100_000
    assert shares.sum() == pytest.approx(1)
    expected = (1 - (1 - shares) ** NUM_DRAWS).sum()
    observed = len(np.unique(draws[:, columns], axis=0))
    assert 0.95 <= observed / expected <= 1.05


def test_the_whole_layout_hardly_ever_repeats(draws: np.ndarray) -> None:
    assert len(np.unique(draws, axis=0)) >= 0.9999 * NUM_DRAWS


def test_every_entry_is_drawn_as_often_as_the_others(draws: np.ndarray) -> None:
    for column in range(10):
        counts = np.bincount(draws[:, column])
        # Chi-square has mean n - 1 and deviation sqrt(2 (n - 1)).
        freedom = len(counts) - 1
        expected = np.full(len(counts), NUM_DRAWS / len(counts))
        assert chi_square(counts, expected) < freedom + 5 * np.sqrt(2 * freedom), column
    assert len(np.unique(draws[:, 0])) == len(shipped_pools().questions.plain)


def test_no_component_follows_another(draws: np.ndarray) -> None:
    for left, right in itertools.combinations(range(draws.shape[1]), 2):
        assert_independent(draws[:, left], draws[:, right])


def test_adjacent_ids_draw_independently(draws: np.ndarray) -> None:
    for column in range(draws.shape[1]):
        assert_independent(draws[:-1, column], draws[1:, column])


def assert_independent(left: np.ndarray, right: np.ndarray) -> None:
    """Chi-square of the joint counts, entries folded to at most four classes."""
    left, right = left % 4, right % 4
    joint = np.zeros((left.max() + 1, right.max() + 1))
    np.add.at(joint, (left, right), 1)
    expected = np.outer(joint.sum(1), joint.sum(0)) / joint.sum()
    freedom = (joint.shape[0] - 1) * (joint.shape[1] - 1)
    assert freedom > 0
    assert chi_square(joint, expected) < freedom + 6 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("has_several", [True, False])
def test_modes_have_their_shares(has_several: bool) -> None:
    modes = shipped_pools().modes
    weights = modes.several if has_several else modes.otherwise
    num_draws = 20_000
    found = [draw(f"m{number}", has_several=has_several).mode for number in range(num_draws)]
    assert set(found) == set(weights)
    observed = np.array([found.count(mode) for mode in weights])
    expected = np.array([num_draws * weight / sum(weights.values()) for weight in weights.values()])
    assert chi_square(observed, expected) < 25


def test_one_example_in_twenty_is_inverted_and_its_text_announced() -> None:
    layouts = [draw(f"i{number}") for number in range(20_000)]
    inverted = [layout for layout in layouts if layout.is_inverted]
    assert abs(len(inverted) / len(layouts) - 0.05) < 0.008
    assert all(layout.reading.before for layout in inverted)
    upright = [layout for layout in layouts if not layout.is_inverted]
    bare = sum(not layout.reading.before for layout in upright) / len(upright)
    silent = sum(not layout.comprehension.one for layout in layouts) / len(layouts)
    assert abs(bare - 0.5) < 0.02
    assert abs(silent - 0.5) < 0.02
    lines = shipped_pools().comprehension
    assert {layout.comprehension for layout in inverted}.isdisjoint(lines.text_first)
    assert {layout.comprehension for layout in upright}.isdisjoint(lines.pairs_first)


def test_a_draw_depends_on_id_and_seed_alone() -> None:
    first = [draw(f"{number}") for number in range(200)]
    again = [draw(f"{number}") for number in reversed(range(200))][::-1]
    assert first == again
    assert len({components(draw("one", seed)) for seed in range(200)}) == 200


@pytest.mark.parametrize("mode", ["numbered", "few_shot"])
def test_numbered_questions_have_no_numbered_options(mode: str) -> None:
    layouts = [draw(f"n{number}") for number in range(8_000)]
    numbered = [layout for layout in layouts if layout.mode == mode]
    others = [layout for layout in layouts if layout.mode == "classic"]
    assert len(numbered) > 200
    assert not [layout for layout in numbered if layout.pairs.labels.symbols[:1] == ("1",)]
    assert [layout for layout in others if layout.pairs.labels.symbols[:1] == ("1",)]
