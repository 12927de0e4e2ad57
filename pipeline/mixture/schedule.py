"""The mixture schedule: which source the n-th row of a run comes from, and which of its rows.

    weights  raw 3/4, augmented 1/4, blocks of 8 rows

    n        0   1   2   3   4   5   6   7 | 8 ...
    source   r   a   r   r   r   a   r   r | ...      exact counts in every block, order shuffled
    draw     0   0   1   2   3   1   4   5 | 6 ...    how often the source was drawn before

Everything here is a pure function of (seed, weights, n): seeking is as cheap as going on.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from pipeline.config import StrictConfig
from pipeline.errors import InputError

_MIN_BLOCK_ROWS = 1024


class MixtureConfig(StrictConfig):
    """How row sources are mixed."""

    weights: dict[str, float] = Field(default_factory=dict)
    """Relative weight (share of tokens) by row source (`NAME-raw`, `NAME-augmented`); empty: in
    proportion to rows."""


@dataclass(frozen=True)
class Mixture:
    """Sources and their shares of rows; made by `make_mixture`."""

    names: tuple[str, ...]
    weights: tuple[float, ...]
    """Shares that sum to 1; as all rows are equally long, also shares of tokens."""
    seed: int
    block_rows: int
    """Rows of a block; at least 1 / the smallest weight, so that counts never shrink."""

    def draws(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Sources and draws of rows `start` to `start + count` (exclusive).

        Returns:
            (count,) int64 source numbers, and (count,) int64: the how-many-th draw of that source
            each row is, counted over the whole run from 0.
        """
        blocks = range(start // self.block_rows, (start + count - 1) // self.block_rows + 1)
        sources, draws = zip(*(self._block(block) for block in blocks), strict=True)
        first = start - blocks.start * self.block_rows
        window = slice(first, first + count)
        return np.concatenate(sources)[window], np.concatenate(draws)[window]

    def counts_before(self, block: int) -> np.ndarray:
        """(num_sources,) int64: draws of each source in all blocks before `block`; sums exactly."""
        total = self.block_rows * block
        targets = np.array(self.weights) * total
        counts: np.ndarray = np.floor(targets).astype(np.int64)
        missing = total - int(counts.sum())
        # Largest remainders take the rows that rounding down left; ties go to the first source.
        order = np.argsort(-(targets - counts), kind="stable")
        counts[order[:missing]] += 1
        return counts

    def _block(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        before, after = self.counts_before(block), self.counts_before(block + 1)
        sources = np.repeat(np.arange(len(self.names)), after - before)
        np.random.Generator(np.random.Philox(key=[self.seed, block])).shuffle(sources)
        draws = np.empty_like(sources)
        for source in range(len(self.names)):
            positions = np.flatnonzero(sources == source)
            draws[positions] = before[source] + np.arange(len(positions))
        return sources, draws


def make_mixture(num_rows: Mapping[str, int], weights: Mapping[str, float], seed: int) -> Mixture:
    """Build a mixture over packed sources.

    Args:
        num_rows: training rows of each packed source.
        weights: relative weight of each source to use; none at all: proportional to rows.
        seed: decides the order.

    Raises:
        InputError: an unknown source, a source without rows, or weights that sum to 0.
    """
    chosen = dict(weights) or {name: float(rows) for name, rows in num_rows.items() if rows}
    for name, weight in chosen.items():
        if name not in num_rows:
            raise InputError(
                f"mixture weight for {name!r}: no such row source; packed are "
                f"{', '.join(sorted(num_rows))}"
            )
        if weight < 0:
            raise InputError(
                f"mixture weight of {name!r} is {weight}; weights must not be negative"
            )
        if weight > 0 and num_rows[name] == 0:
            raise InputError(
                f"mixture weight of {name!r} is {weight}, but it has no training row; "
                f"pack more text or take it out of the mixture"
            )
    used = {name: weight for name, weight in sorted(chosen.items()) if weight > 0}
    total = sum(used.values())
    if not used:
        raise InputError("the mixture weights sum to 0; give at least one source a weight")
    shares = tuple(weight / total for weight in used.values())
    block_rows = max(_MIN_BLOCK_ROWS, int(np.ceil(1 / min(shares))))
    return Mixture(tuple(used), shares, seed, block_rows)
