"""The schedule: row n comes from one source, whoever asks, and counts keep to the weights."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.mixture.schedule import NO_END, Event, Mixture, Piece


def shares(weights: list[float]) -> np.ndarray:
    return np.array(weights) / sum(weights)


@st.composite
def mixtures(draw: st.DrawFn) -> Mixture:
    """Up to four pieces, constant or ramped, of up to six sources, weights of 0 among them."""
    count = draw(st.integers(1, 6))
    weights = st.lists(
        st.one_of(st.just(0.0), st.floats(1e-6, 10)), min_size=count, max_size=count
    ).filter(any)
    pieces: list[Piece] = []
    start = 0
    for _ in range(draw(st.integers(1, 4))):
        length, new = draw(st.integers(1, 900)), shares(draw(weights))
        ramps = bool(pieces) and draw(st.booleans())
        before = pieces[-1].last if ramps else new
        pieces.append(Piece(start, before, new, length if ramps else 0, start + length))
        start += length
    pieces[-1] = replace(pieces[-1], end=NO_END)
    names = [f"s{number}" for number in range(count)]
    return Mixture(names, pieces, seed=3, block_rows=draw(st.sampled_from([13, 64, 300])))


def assert_counts_up(sources: np.ndarray, draws: np.ndarray) -> None:
    for source in np.unique(sources):
        chosen = draws[sources == source]
        np.testing.assert_array_equal(chosen, np.arange(len(chosen)))


@settings(deadline=None, max_examples=40)
@given(mixtures())
def test_every_draw_of_every_source_comes_once_and_in_order(mixture: Mixture) -> None:
    end = mixture.pieces[-1].start + 700
    sources, draws = mixture.draws(0, end)
    assert_counts_up(sources, draws)
    for row in {0, 1, end // 3, end // 2, end}:
        expected = np.bincount(sources[:row], minlength=len(mixture.names))
        np.testing.assert_array_equal(mixture.counts_before(row), expected)


@settings(deadline=None, max_examples=40)
@given(mixtures(), st.integers(0, 2000), st.integers(1, 80))
def test_draws_do_not_depend_on_where_one_starts(mixture: Mixture, start: int, count: int) -> None:
    whole = mixture.draws(0, start + count)
    part = mixture.draws(start, count)
    for found, expected in zip(part, whole, strict=True):
        np.testing.assert_array_equal(found, expected[start:])


@settings(deadline=None, max_examples=40)
@given(mixtures())
def test_counts_keep_to_the_weights(mixture: Mixture) -> None:
    earned = np.zeros(len(mixture.names))
    for piece in mixture.pieces[:-1]:
        earned = earned + piece.earned(piece.end - piece.start)
        counts = mixture.counts_before(piece.end)
        # A row, and another one for each source that may have come in the same moment.
        assert (np.abs(counts - earned) < 1 + len(counts) * np.maximum(piece.last, 0.2)).all()


def test_a_source_that_is_faded_out_comes_no_more() -> None:
    pieces = [
        Piece(0, shares([1, 1]), shares([1, 1]), 0, 1000),
        Piece(1000, shares([1, 1]), shares([1, 0]), 1000, 2000),
        Piece(2000, shares([1, 0]), shares([1, 0])),
    ]
    mixture = Mixture(["a", "b"], pieces, seed=0, block_rows=64)
    at = [int(mixture.counts_before(row)[1]) for row in (1000, 1500, 2000, 10_000)]
    assert at[0] == pytest.approx(500, abs=1)
    assert at[1] - at[0] == pytest.approx(500 * 3 / 8, abs=2)
    assert at[2] - at[0] == pytest.approx(250, abs=2)
    assert at[3] == at[2]


def test_a_thousand_sources_of_tiny_weight_come_evenly() -> None:
    weights = shares([1.0] * 10 + [1e-4] * 1000)
    mixture = Mixture([f"s{n}" for n in range(1010)], [Piece(0, weights, weights)], 0, 256)
    total = 200_000
    counts = mixture.counts_before(total)
    assert counts.sum() == total
    assert (np.abs(counts - weights * total) < 1 + 40 * weights).all()
    small = [mixture.counts_before(row)[10:].sum() for row in range(0, total + 1, 50_000)]
    quarters = np.diff(small)
    assert quarters.max() - quarters.min() <= 20  # about 495 each: they do not come all at once


def test_the_order_within_a_block_is_shuffled_and_the_seed_decides_it() -> None:
    weights = shares([1, 1])
    one, two = (Mixture(["a", "b"], [Piece(0, weights, weights)], seed, 512) for seed in (1, 2))
    first, other = one.draws(0, 512)[0], two.draws(0, 512)[0]
    assert (first != other).any()
    assert first.sum() == other.sum() == 256
    changes = (np.diff(first) != 0).sum()
    assert 200 < changes < 312  # 255.5 and a deviation of 11 for a fair shuffle


def test_seeking_far_is_the_same_work() -> None:
    weights = shares([1, 2])
    mixture = Mixture(["a", "b"], [Piece(0, weights, weights)], seed=0)
    sources, draws = mixture.draws(10**12, 4)
    assert len(sources) == 4
    assert (np.abs(draws - 10**12 * weights[sources]) < mixture.block_rows).all()
    with pytest.raises(InputError, match=r"no more than 2\*\*42"):
        mixture.draws(2**43, 1)


@settings(deadline=None, max_examples=40)
@given(mixtures(), st.lists(st.integers(0, 1500), min_size=1, max_size=4, unique=True))
def test_events_change_nothing_before_them_and_replay_exactly(
    mixture: Mixture, rows: list[int]
) -> None:
    before = mixture.draws(0, 2000)
    changed = mixture
    for number, row in enumerate(sorted(rows)):
        weights = tuple(1.0 + (number + k) % 3 for k in range(len(mixture.names)))
        changed = changed.with_event(Event(row, weights))
    first = min(rows)
    sources, draws = changed.draws(0, 2000)
    for found, expected in zip((sources, draws), before, strict=True):
        np.testing.assert_array_equal(found[:first], expected[:first])
    assert_counts_up(sources, draws)
    again = mixture.replay(changed.events).draws(0, 2000)
    np.testing.assert_array_equal(again[0], sources)
    np.testing.assert_array_equal(again[1], draws)
    # What was owed is made up, and from the last event on its weights hold.
    late = changed.counts_before(2000) - changed.counts_before(max(rows))
    expected = shares(list(changed.events[-1].weights)) * (2000 - max(rows))
    assert (np.abs(late - expected) <= mixture.block_rows + 8).all()


@pytest.mark.parametrize("weights", [(1.0,), (1.0, -1.0), (0.0, 0.0)])
def test_an_event_must_fit_the_sources(weights: tuple[float, ...]) -> None:
    even = shares([1, 1])
    mixture = Mixture(["a", "b"], [Piece(0, even, even)], seed=0)
    with pytest.raises(InputError, match="give each of the 2 sources one"):
        mixture.with_event(Event(5, weights))
    with pytest.raises(InputError, match="come in order"):
        mixture.with_event(Event(5, (1, 1))).with_event(Event(4, (1, 1)))
