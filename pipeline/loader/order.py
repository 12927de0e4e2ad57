"""The order in which one source's rows are visited, epoch after epoch: arithmetic, no state.

    units of F rows   0 1 2 3 4 5 6 7 8 9 + a last one of fewer rows
    an epoch          permuted:  7 2 9 | 0 5 1 | 8 3 6 | 4 +      windows of 3 units
    within a window   its rows shuffled

An epoch visits every row once. A window's frames come from anywhere, so that text which was
together on disk is apart; its rows are read frame by frame, so that storage sees whole frames.
"""

from dataclasses import dataclass

import numpy as np
import xxhash

from pipeline.loader.permutation import permute


@dataclass(frozen=True)
class Window:
    """Which window of which epoch, and how many rows it has."""

    epoch: int
    number: int
    num_rows: int


@dataclass(frozen=True)
class RowOrder:
    """Arithmetic over the rows of one source."""

    num_rows: int
    rows_per_unit: int
    units_per_window: int
    key: int
    """Chooses the order; see `source_key`."""

    @property
    def rows_per_window(self) -> int:
        """Rows of every window but the last of an epoch."""
        return self.rows_per_unit * self.units_per_window

    def window_of(self, draw: int) -> tuple[Window, int]:
        """The window of a draw, and the draw's place in it."""
        epoch, place = divmod(draw, self.num_rows)
        number, at = divmod(place, self.rows_per_window)
        rest = self.num_rows - number * self.rows_per_window
        return Window(epoch, number, min(self.rows_per_window, rest)), at

    def next_window(self, window: Window) -> Window:
        """The window that is visited after this one."""
        draw = window.epoch * self.num_rows + window.number * self.rows_per_window
        return self.window_of(draw + window.num_rows)[0]

    def units(self, window: Window) -> np.ndarray:
        """(n,) int64 units of a window; all have `rows_per_unit` rows but an epoch's last one."""
        num_permuted = self.num_rows // self.rows_per_unit
        first = window.number * self.units_per_window
        count = -(-window.num_rows // self.rows_per_unit)
        places = np.arange(first, first + count)
        inside = places < num_permuted
        units = places.copy()  # the unit of fewer rows stays at the end
        if inside.any():
            units[inside] = permute(
                places[inside], num_permuted, self.key ^ (window.epoch << 1 | 1)
            )
        return units

    def row_order(self, window: Window) -> np.ndarray:
        """(num_rows,) int64: the order of the window's rows, numbered unit after unit."""
        key = [self.key, (window.epoch << 32) | window.number]
        return np.random.Generator(np.random.Philox(key=key)).permutation(window.num_rows)


def source_key(seed: int, name: str) -> int:
    """64 bits from a run's seed and a source's name: other sources do not change its order."""
    return int(xxhash.xxh64_intdigest(name.encode(), seed=seed))
