"""The mixture schedule: which source row n of a run comes from, and the how-many-th of that source.

    weights  raw 3/4, augmented 1/4, blocks of 8 rows

    n        0   1   2   3   4   5   6   7 | 8 ...
    source   r   a   r   r   r   a   r   r | ...      exact counts in every block, order shuffled
    draw     0   0   1   2   3   1   4   5 | 6 ...    how often the source was drawn before

Counts follow a divisor method of apportionment: as time t passes, source s has earned
r_s + G_s(t) rows, G_s being the integral of its weight, and draws one whenever that reaches the
next whole number. Row n is the n-th such moment. Counts therefore never shrink, whatever the
weights do, and stand within a row or so of what the weights say; finding the moment of a row is a
bisection, so seeking is as cheap as going on. Everything is a pure function of (seed, pieces, n).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from pipeline.errors import InputError

_TICKS_PER_ROW = 1024
_MAX_TICKS = NO_END = 2**53
_GOLDEN = (5**0.5 - 1) / 2
_CACHED_BLOCKS = 4


@dataclass(frozen=True)
class Piece:
    """Weights from row `start` on: a line from `first` to `last` over `ramp_rows`, then `last`."""

    start: int
    first: np.ndarray
    """(num_sources,) float64 shares that sum to 1."""
    last: np.ndarray
    """The same at the end of the ramp."""
    ramp_rows: int = 0
    end: int = NO_END
    """Row before which the last block ends; an event may cut the piece short, and then a block."""

    def earned(self, rows: float) -> np.ndarray:
        """(num_sources,) float64: rows each source has earned after `rows` of this piece.

        Never falls as `rows` grows, to the last bit: each branch is a product of factors that
        grow, or an end minus a product of factors that shrink.
        """
        whole: np.ndarray = (self.first + self.last) * (self.ramp_rows / 2)
        if rows >= self.ramp_rows:
            whole = whole + self.last * (rows - self.ramp_rows)
            return whole
        slope = (self.last - self.first) / self.ramp_rows
        left = self.ramp_rows - rows
        rising = np.minimum(rows * (self.first + slope * (rows / 2)), whole)
        falling = np.maximum(whole - left * (self.last - slope * (left / 2)), 0.0)
        return np.where(slope >= 0, rising, falling)


@dataclass(frozen=True)
class Event:
    """Other weights from row `row` on, decided while the run was under way."""

    row: int
    weights: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        """JSON values, for a log or a checkpoint."""
        return {"row": self.row, "weights": list(self.weights)}


@dataclass(frozen=True)
class _Account:
    """Where a piece begins: rows drawn so far, and what each source has earned beyond them."""

    counts: np.ndarray
    """(num_sources,) int64."""
    surplus: np.ndarray
    """(num_sources,) float64."""


class Mixture:
    """Sources and their weights over a run; made by `pipeline.mixture.planning`."""

    def __init__(
        self,
        names: Sequence[str],
        pieces: Sequence[Piece],
        seed: int,
        block_rows: int = 1024,
        events: Sequence[Event] = (),
        accounts: Sequence[_Account] = (),
    ) -> None:
        """Add up each piece's rows, so that any later row is one bisection away.

        Args:
            names: the sources, in the order of the weights.
            pieces: by their start; the first one starts at row 0.
            seed: decides the order within blocks.
            block_rows: rows of a block: counts are exact at its borders.
            events: what has been changed on the way; `pieces` holds it already.
            accounts: of the first pieces, where they have been added up before.
        """
        assert pieces
        assert pieces[0].start == 0
        self.names, self.pieces, self.events = tuple(names), tuple(pieces), tuple(events)
        self.seed, self.block_rows = seed, block_rows
        self._starts = np.array([piece.start for piece in pieces], dtype=np.int64)
        self._block = lru_cache(maxsize=_CACHED_BLOCKS)(self._shuffle_block)
        # Spread over (0, 1), so that small sources of one weight do not all come at once.
        surplus = (np.arange(1, len(self.names) + 1) * _GOLDEN) % 1.0
        none_yet = _Account(np.zeros(len(self.names), dtype=np.int64), surplus)
        self._accounts = list(accounts) or [none_yet]
        for number in range(len(self._accounts), len(self.pieces)):
            self._accounts.append(self._account_at(number - 1, self.pieces[number].start))

    def draws(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Sources and draws of rows `start` to `start + count` (exclusive).

        Returns:
            (count,) int64 source numbers, and (count,) int64: the how-many-th draw of that source
            each row is, counted over the whole run from 0.
        """
        found = []
        row, end = start, start + count
        while row < end:
            number = self._piece_of(row)
            first = self._block_start(number, row)
            stop = min(end, first + self.block_rows, self._piece_end(number))
            sources, draws = self._block(number, first)
            found.append((sources[row - first : stop - first], draws[row - first : stop - first]))
            row = stop
        sources, draws = zip(*found, strict=True)
        return np.concatenate(sources), np.concatenate(draws)

    def counts_before(self, row: int) -> np.ndarray:
        """(num_sources,) int64: draws of each source in all rows before `row`; sums to `row`."""
        return self._counts_at(self._piece_of(row), row)

    def earned_before(self, row: int) -> np.ndarray:
        """(num_sources,) float64: rows before `row` by the weights alone, not rounded."""
        ends = [*(piece.start for piece in self.pieces[1:]), NO_END]
        total = np.zeros(len(self.names))
        for piece, end in zip(self.pieces, ends, strict=True):
            if piece.start < row:
                total += piece.earned(min(row, end) - piece.start)
        return total

    def with_event(self, event: Event) -> "Mixture":
        """The same schedule up to `event.row`, and the event's weights from there on.

        Raises:
            InputError: the weights do not fit the sources, or an earlier event lies behind it.
        """
        weights = np.array(event.weights, dtype=np.float64)
        is_usable = (weights >= 0).all() and 0 < weights.sum() < np.inf
        if len(weights) != len(self.names) or not is_usable:
            raise InputError(
                f"mixture event at row {event.row}: {len(weights)} weights "
                f"{weights.tolist()[:8]}; give each of the {len(self.names)} sources one that is "
                f"not negative, not all 0"
            )
        if self.events and event.row < self.events[-1].row:
            raise InputError(
                f"mixture event at row {event.row}: there is one at row {self.events[-1].row} "
                f"already; events come in order"
            )
        shares = weights / weights.sum()
        kept = tuple(piece for piece in self.pieces if piece.start < event.row)
        return Mixture(
            self.names,
            (*kept, Piece(event.row, shares, shares)),
            self.seed,
            self.block_rows,
            (*self.events, event),
            self._accounts[: len(kept)],
        )

    def continued(self, row: int, later: "Mixture") -> "Mixture":
        """This schedule before `row`, and another one of the same sources from there on.

        Raises:
            InputError: the other one has other sources.
        """
        if later.names != self.names:
            raise InputError(
                f"the mixture of this run has the sources {', '.join(self.names)}, and now it "
                f"would have {', '.join(later.names)}; name them by mixture.weights or ratio"
            )
        piece = later.pieces[later._piece_of(row)]
        done, ramp_rows = row - piece.start, 0
        first = piece.last
        if done < piece.ramp_rows:
            ramp_rows = piece.ramp_rows - done
            first = piece.first + (piece.last - piece.first) * (done / piece.ramp_rows)
        pieces = [
            *(each for each in self.pieces if each.start < row),
            Piece(row, first, piece.last, ramp_rows, piece.end),
            *(each for each in later.pieces if each.start > row),
        ]
        kept = self._accounts[: sum(each.start < row for each in self.pieces)]
        return Mixture(self.names, pieces, self.seed, self.block_rows, self.events, kept)

    def replay(self, events: Sequence[Event]) -> "Mixture":
        """The schedule after all of `events`, in order."""
        mixture = self
        for event in events:
            mixture = mixture.with_event(event)
        return mixture

    def _piece_of(self, row: int) -> int:
        return int(np.searchsorted(self._starts, row, side="right")) - 1

    def _piece_end(self, number: int) -> int:
        if number + 1 < len(self.pieces):
            return self.pieces[number + 1].start
        return NO_END

    def _block_start(self, number: int, row: int) -> int:
        start = self.pieces[number].start
        return start + (row - start) // self.block_rows * self.block_rows

    def _account_at(self, number: int, row: int) -> _Account:
        """Where piece `number` leaves off at `row`."""
        counts = self._counts_at(number, row)
        account, piece = self._accounts[number], self.pieces[number]
        earned = account.surplus + piece.earned(row - piece.start)
        return _Account(counts, earned - (counts - account.counts))

    def _counts_at(self, number: int, row: int) -> np.ndarray:
        """Counts before `row` by the shuffled block it lies in, which a later piece may cut."""
        first = self._block_start(number, row)
        if row in (first, self.pieces[number].end):
            return self._apportion(number, row)
        counts = self._apportion(number, first)
        sources, _ = self._block(number, first)
        cut = np.bincount(sources[: row - first], minlength=len(self.names))
        return np.asarray(counts + cut, dtype=np.int64)

    def _shuffle_block(self, number: int, first: int) -> tuple[np.ndarray, np.ndarray]:
        """Sources and draws of one block."""
        before = self._apportion(number, first)
        end = min(first + self.block_rows, self.pieces[number].end)
        counts = self._apportion(number, end) - before
        sources = np.repeat(np.arange(len(self.names)), counts)
        np.random.Generator(np.random.Philox(key=[self.seed, first])).shuffle(sources)
        draws = np.empty_like(sources)
        starts = np.cumsum(counts) - counts
        in_order = np.arange(len(sources)) - np.repeat(starts - before, counts)
        draws[np.argsort(sources, kind="stable")] = in_order
        return sources, draws

    def _apportion(self, number: int, row: int) -> np.ndarray:
        """Counts before `row`, a block's border in piece `number`."""
        piece, account = self.pieces[number], self._accounts[number]
        wanted = row - piece.start
        if wanted * _TICKS_PER_ROW > _MAX_TICKS // 2:
            raise InputError(f"row {row} of a run: there can be no more than 2**42")

        def drawn(tick: int) -> np.ndarray:
            if tick < 0:
                return np.zeros(len(self.names), dtype=np.int64)
            earned = account.surplus + piece.earned(tick / _TICKS_PER_ROW)
            whole: np.ndarray = np.maximum(np.floor(earned), 0.0).astype(np.int64)
            return whole

        low = _last_tick(lambda tick: int(drawn(tick).sum()), wanted, len(self.names))
        counts = drawn(low)
        # What comes at the very same moment goes to the first sources.
        together = np.cumsum(drawn(low + 1) - counts)
        taken = np.minimum(together, wanted - int(counts.sum()))
        total: np.ndarray = account.counts + counts + np.diff(taken, prepend=0)
        return total


def _last_tick(num_drawn: Callable[[int], int], wanted: int, num_sources: int) -> int:
    """The last tick by which no more than `wanted` rows have been drawn; -1 if there is none."""
    step = (num_sources + 1) * _TICKS_PER_ROW
    low = high = max(0, wanted * _TICKS_PER_ROW)
    while low >= 0 and num_drawn(low) > wanted:
        low, step = max(-1, low - step), step * 2
    while num_drawn(high) <= wanted:
        high, step = high + step, step * 2
    while high - low > 1:
        middle = (low + high) // 2
        if num_drawn(middle) <= wanted:
            low = middle
        else:
            high = middle
    return low
