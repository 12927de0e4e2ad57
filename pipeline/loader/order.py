"""The order in which one source's rows are visited, epoch after epoch: arithmetic, no state.

    units of F rows   0 1 2 3 4 5 6 7 8 9 + a last one of fewer rows
    an epoch          permuted:  7 2 9 | 0 5 1 | 8 3 6 | 4 +      windows of 3 units
    within a window   its rows shuffled

An epoch visits every row once. A window's frames come from anywhere, so that text which was
together on disk is apart; its rows are read frame by frame, so that storage sees whole frames.

A source may grow while a run is on its way. What was drawn keeps its place; when the window under
way is finished, the rest of the epoch and the new rows are permuted together:

    grown after 7 2 9 by 10 11 12:   7 2 9 | 11 5 0 | 12 3 6 | 1 10 8 | 4 + +
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xxhash

from pipeline.loader.permutation import permute


class Size(NamedTuple):
    """How many rows there are: see `pipeline.loader.table`."""

    full_frames: int
    tail_rows: int


class Growth(NamedTuple):
    """From draw `draw` on the source is of another size, its old rows the first of all."""

    draw: int
    size: Size


@dataclass(frozen=True)
class Window:
    """Which window of which epoch, and how many rows it has."""

    stretch: int
    epoch: int
    number: int
    num_rows: int


@dataclass(frozen=True)
class _Stretch:
    """Draws of one arithmetic: epochs without end, or one epoch of what was left and what is new.

    Units that are permuted come in three runs: `left` of the epoch that the growth cut, then full
    frames from `first_frame` on, then F rows of the tail at a time from `first_tail` on.
    """

    first_draw: int
    first_epoch: int
    size: Size
    first_frame: int = 0
    first_tail: int = 0
    left: int = 0
    cut: "tuple[_Stretch, int, int] | None" = None
    """The stretch that was cut, its epoch, and the units of that epoch which were visited."""

    def num_units(self, rows_per_unit: int) -> int:
        """Units of `rows_per_unit` rows; what remains of the tail is visited last."""
        tail = (self.size.tail_rows - self.first_tail) // rows_per_unit
        return self.left + self.size.full_frames - self.first_frame + tail

    def num_rows(self, rows_per_unit: int) -> int:
        """Rows of an epoch."""
        rest = (self.size.tail_rows - self.first_tail) % rows_per_unit
        return self.num_units(rows_per_unit) * rows_per_unit + rest


class RowOrder:
    """Arithmetic over the rows of one source."""

    def __init__(
        self,
        size: Size,
        rows_per_unit: int,
        units_per_window: int,
        key: int,
        growths: Sequence[Growth] = (),
    ) -> None:
        """Take the size at the start of the run and how it changed.

        Args:
            size: at draw 0.
            rows_per_unit: rows of a full frame.
            units_per_window: frames whose rows are shuffled together.
            key: chooses the order; see `source_key`.
            growths: in order.
        """
        self.rows_per_unit, self.units_per_window, self._key = rows_per_unit, units_per_window, key
        self._stretches = [_Stretch(0, 0, size)]
        for growth in growths:
            self._grow(growth)

    @property
    def rows_per_window(self) -> int:
        """Rows of every window but the last of an epoch."""
        return self.rows_per_unit * self.units_per_window

    def window_of(self, draw: int) -> tuple[Window, int]:
        """The window of a draw, and the draw's place in it."""
        number = next(
            n
            for n in reversed(range(len(self._stretches)))
            if self._stretches[n].first_draw <= draw
        )
        stretch = self._stretches[number]
        num_rows = stretch.num_rows(self.rows_per_unit)
        epoch, place = divmod(draw - stretch.first_draw, num_rows)
        window, at = divmod(place, self.rows_per_window)
        rest = min(self.rows_per_window, num_rows - window * self.rows_per_window)
        return Window(number, stretch.first_epoch + epoch, window, rest), at

    def next_window(self, window: Window) -> Window:
        """The window that is visited after this one."""
        return self.window_of(self._first_draw(window) + window.num_rows)[0]

    def units(self, window: Window) -> np.ndarray:
        """(n,) int64 units of a window, as `RowTable.locate` takes them.

        All have `rows_per_unit` rows but an epoch's last one.
        """
        first = window.number * self.units_per_window
        places = np.arange(first, first + -(-window.num_rows // self.rows_per_unit))
        return self._units_at(self._stretches[window.stretch], window.epoch, places)

    def row_order(self, window: Window) -> np.ndarray:
        """(num_rows,) int64: the order of the window's rows, numbered unit after unit."""
        key = [self._key ^ window.stretch, (window.epoch & 0xFFFFFF) << 40 | window.number]
        return np.random.Generator(
            np.random.Philox(key=np.array(key, dtype=np.uint64))
        ).permutation(window.num_rows)

    def _first_draw(self, window: Window) -> int:
        stretch = self._stretches[window.stretch]
        epoch = window.epoch - stretch.first_epoch
        before = epoch * stretch.num_rows(self.rows_per_unit)
        return stretch.first_draw + before + window.number * self.rows_per_window

    def _units_at(self, stretch: _Stretch, epoch: int, places: np.ndarray) -> np.ndarray:
        """Units at the places of an epoch's order."""
        num_units, size = stretch.num_units(self.rows_per_unit), self.rows_per_unit
        numbers = places.copy()  # what remains of the tail stays at the end
        inside = np.flatnonzero(places < num_units)
        if len(inside):
            key = self._key ^ (epoch << 1 | 1) ^ stretch.first_draw << 20
            numbers[inside] = permute(places[inside], num_units, key)
        frames = numbers - stretch.left + stretch.first_frame
        tails = stretch.first_tail + (frames - stretch.size.full_frames) * size
        units = np.where(frames < stretch.size.full_frames, frames, -1 - tails)
        old = np.flatnonzero(numbers < stretch.left)
        if len(old):
            assert stretch.cut is not None
            before, cut_epoch, visited = stretch.cut
            units[old] = self._units_at(before, cut_epoch, visited + numbers[old])
        return units

    def _grow(self, growth: Growth) -> None:
        window, at = self.window_of(growth.draw)
        draw = growth.draw - at + (window.num_rows if at else 0)
        stretch = self._stretches[window.stretch]
        per_epoch = stretch.num_rows(self.rows_per_unit)
        self._stretches = self._stretches[: window.stretch + 1]
        epoch = stretch.first_epoch + (draw - stretch.first_draw) // per_epoch
        place = (draw - stretch.first_draw) % per_epoch
        # Within an epoch, or at the very begin of the rest of one.
        if place or (stretch.cut is not None and draw == stretch.first_draw):
            visited = place // self.rows_per_unit
            grown = _Stretch(
                draw,
                epoch,
                growth.size,
                first_frame=stretch.size.full_frames,
                first_tail=stretch.first_tail
                + (stretch.size.tail_rows - stretch.first_tail)
                // self.rows_per_unit
                * self.rows_per_unit,
                left=stretch.num_units(self.rows_per_unit) - visited,
                cut=(stretch, epoch, visited),
            )
            self._stretches.append(grown)
            draw, epoch = draw + grown.num_rows(self.rows_per_unit), epoch + 1
        self._stretches.append(_Stretch(draw, epoch, growth.size))


def source_key(seed: int, name: str) -> int:
    """64 bits from a run's seed and a source's name: other sources do not change its order."""
    return int(xxhash.xxh64_intdigest(name.encode(), seed=seed))
