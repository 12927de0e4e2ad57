"""The order of one source's rows: an epoch has each once, and the shuffling is good enough."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.loader.order import Growth, RowOrder, Size, source_key


def make(num_rows: int, per_unit: int, per_window: int, key: int = 1) -> RowOrder:
    """An order of rows of which some are tails of their shards."""
    tail = num_rows % (3 * per_unit)
    return RowOrder(Size((num_rows - tail) // per_unit, tail), per_unit, per_window, key)


def visited(order: RowOrder, start: int, end: int) -> np.ndarray:
    """Rows by number of draws `start` to `end`: of full frames from 0 on, of tails from -1 down."""
    found = []
    draw = start
    while draw < end:
        window, at = order.window_of(draw)
        places = order.row_order(window)
        units, rows = (
            order.units(window)[places // order.rows_per_unit],
            places % order.rows_per_unit,
        )
        numbers = np.where(units >= 0, units * order.rows_per_unit + rows, units - rows)
        found.append(numbers[at : at + end - draw])
        draw += len(found[-1])
    return np.concatenate([*found, np.zeros(0, dtype=np.int64)])


def all_rows(size: Size, per_unit: int) -> np.ndarray:
    return np.arange(-size.tail_rows, size.full_frames * per_unit)


@given(st.integers(1, 400), st.integers(1, 9), st.integers(1, 9), st.integers(0, 3))
def test_an_epoch_visits_every_row_once(
    num_rows: int, per_unit: int, per_window: int, epoch: int
) -> None:
    order = make(num_rows, per_unit, per_window)
    numbers = visited(order, epoch * num_rows, (epoch + 1) * num_rows)
    tail = num_rows % (3 * per_unit)
    np.testing.assert_array_equal(np.sort(numbers), np.arange(-tail, num_rows - tail))


@given(st.integers(1, 400), st.integers(1, 9), st.integers(1, 9), st.integers(0, 1000))
def test_windows_follow_each_other(
    num_rows: int, per_unit: int, per_window: int, draw: int
) -> None:
    order = make(num_rows, per_unit, per_window)
    window, at = order.window_of(draw)
    assert 0 <= at < window.num_rows
    assert order.next_window(window) == order.window_of(draw - at + window.num_rows)[0]


def test_epochs_seeds_and_sources_have_orders_of_their_own() -> None:
    order = make(4800, 16, 8, source_key(1, "a"))
    one = visited(order, 0, 4800)
    for other in (
        visited(order, 4800, 9600),
        visited(make(4800, 16, 8, source_key(2, "a")), 0, 4800),
        visited(make(4800, 16, 8, source_key(1, "b")), 0, 4800),
    ):
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(4800 / 16)


@pytest.mark.parametrize("key", [1, 2, 3])
def test_a_batch_mixes_nearly_as_well_as_a_full_shuffle(key: int) -> None:
    """How much batch means of a feature that is constant in a frame vary, against a full shuffle.

    The worst case for shuffling by frames: all rows of a frame alike. A batch of 256 rows out of
    a window of 64 frames holds some 4 rows of each. The mean over a batch then varies as that of
    64 rows in a full shuffle would; without shuffling it would vary as that of 4.
    """
    rows, per_frame, batch = 64 * 4096, 64, 256
    order = RowOrder(Size(4096, 0), per_frame, 64, key)
    frames = visited(order, 0, rows) // per_frame
    feature = np.random.default_rng(key).standard_normal(rows // per_frame)
    means = feature[frames].reshape(-1, batch).mean(axis=1)
    effective_rows = feature.var() / means.var()
    assert effective_rows > 45
    unshuffled = feature[np.arange(rows) // per_frame].reshape(-1, batch).mean(axis=1)
    assert feature.var() / unshuffled.var() < 8
    distinct = [len(np.unique(part)) for part in frames.reshape(-1, batch)]
    assert np.mean(distinct) > 60  # of 64


def test_a_far_draw_takes_no_longer_to_find() -> None:
    order = RowOrder(Size(10**9 // 64, 17), 64, 64, 3)
    window, at = order.window_of(7 * 10**11 + 5)
    assert window.epoch == 699
    units = order.units(window)
    assert len(np.unique(units)) == 64
    assert units.max() < 10**9 // 64
    assert 0 <= at < window.num_rows


@st.composite
def growing(draw: st.DrawFn) -> tuple[int, int, list[Growth]]:
    """Rows per unit, units per window, and sizes from draw 0 on, each later and larger."""
    frames, tail, at = draw(st.integers(0, 12)), draw(st.integers(0, 20)), 0
    growths = [Growth(0, Size(frames, tail + (not frames)))]
    for _ in range(draw(st.integers(1, 3))):
        at += draw(st.integers(0, 60))
        frames, tail = frames + draw(st.integers(0, 9)), tail + draw(st.integers(1, 15))
        growths.append(Growth(at, Size(frames, tail + 1)))
    return draw(st.integers(1, 6)), draw(st.integers(1, 4)), growths


@given(growing())
def test_a_grown_source_keeps_what_was_drawn_and_visits_all_else_once(
    case: tuple[int, int, list[Growth]],
) -> None:
    per_unit, per_window, growths = case
    orders = [
        RowOrder(growths[0].size, per_unit, per_window, 5, growths[1 : count + 1])
        for count in range(len(growths))
    ]
    for before, after, growth in zip(orders, orders[1:], growths[1:], strict=False):
        np.testing.assert_array_equal(
            visited(after, 0, growth.draw), visited(before, 0, growth.draw)
        )
    last, size = orders[-1], growths[-1].size
    # From some draw on the epochs are whole ones of the last size; until then nothing is missed.
    total = size.full_frames * per_unit + size.tail_rows
    window, _ = last.window_of(growths[-1].draw + 2 * total + per_unit * per_window)
    while window.number:
        window, _ = last.window_of(last._first_draw(window) - 1)
    start = last._first_draw(window)
    for epoch in range(2):
        numbers = visited(last, start + epoch * total, start + (epoch + 1) * total)
        np.testing.assert_array_equal(np.sort(numbers), all_rows(size, per_unit))
    # As often as its epochs say: no row more than once more than another that is as old.
    counts = Counter(visited(last, 0, start).tolist())
    oldest = all_rows(growths[0].size, per_unit).tolist()
    assert max(counts[row] for row in oldest) - min(counts[row] for row in oldest) == 0
    assert all(counts[row] >= 1 for row in all_rows(size, per_unit).tolist()) or start == 0


def test_new_rows_join_the_epoch_under_way() -> None:
    order = RowOrder(Size(100, 3), 4, 2, 5, [Growth(150, Size(160, 9))])
    rest = visited(order, 152, 649)
    assert len(set(rest.tolist())) == 497 == 403 - 152 + 60 * 4 + 6
    is_new = rest >= 400
    assert 0.3 < is_new[: len(rest) // 2].mean() < 0.7, "old and new are mixed"
    assert set(rest.tolist()).isdisjoint(visited(order, 0, 152).tolist())
