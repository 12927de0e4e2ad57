"""The order of one source's rows: an epoch has each once, and the shuffling is good enough."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.loader.order import RowOrder, source_key


def visited(order: RowOrder, start: int, end: int) -> np.ndarray:
    """Rows by number (unit x rows_per_unit + row) of draws `start` to `end`."""
    found = []
    draw = start
    while draw < end:
        window, at = order.window_of(draw)
        places = order.row_order(window)
        numbers = order.units(window)[places // order.rows_per_unit] * order.rows_per_unit
        numbers = numbers + places % order.rows_per_unit
        found.append(numbers[at : at + end - draw])
        draw += len(found[-1])
    return np.concatenate(found)


@given(st.integers(1, 400), st.integers(1, 9), st.integers(1, 9), st.integers(0, 3))
def test_an_epoch_visits_every_row_once(
    num_rows: int, per_unit: int, per_window: int, epoch: int
) -> None:
    order = RowOrder(num_rows, per_unit, per_window, source_key(1, "a"))
    numbers = visited(order, epoch * num_rows, (epoch + 1) * num_rows)
    np.testing.assert_array_equal(np.sort(numbers), np.arange(num_rows))


@given(st.integers(1, 400), st.integers(1, 9), st.integers(1, 9), st.integers(0, 1000))
def test_windows_follow_each_other(
    num_rows: int, per_unit: int, per_window: int, draw: int
) -> None:
    order = RowOrder(num_rows, per_unit, per_window, 7)
    window, at = order.window_of(draw)
    assert 0 <= at < window.num_rows
    assert order.next_window(window) == order.window_of(draw - at + window.num_rows)[0]


def test_epochs_seeds_and_sources_have_orders_of_their_own() -> None:
    order = RowOrder(5000, 16, 8, source_key(1, "a"))
    one = visited(order, 0, 5000)
    for other in (
        visited(order, 5000, 10_000),
        visited(RowOrder(5000, 16, 8, source_key(2, "a")), 0, 5000),
        visited(RowOrder(5000, 16, 8, source_key(1, "b")), 0, 5000),
    ):
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(5000 / 16)


@pytest.mark.parametrize("key", [1, 2, 3])
def test_a_batch_mixes_nearly_as_well_as_a_full_shuffle(key: int) -> None:
    """How much batch means of a feature that is constant in a frame vary, against a full shuffle.

    The worst case for shuffling by frames: all rows of a frame alike. A batch of 256 rows out of
    a window of 64 frames holds some 4 rows of each. The mean over a batch then varies as that of
    64 rows in a full shuffle would; without shuffling it would vary as that of 4.
    """
    rows, per_frame, batch = 64 * 4096, 64, 256
    order = RowOrder(rows, per_frame, 64, key)
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
    order = RowOrder(10**9 + 17, 64, 64, 3)
    window, at = order.window_of(7 * 10**11 + 5)
    assert window.epoch == 699
    units = order.units(window)
    assert len(np.unique(units)) == 64
    assert units.max() < (10**9 + 17) // 64
    assert 0 <= at < window.num_rows
