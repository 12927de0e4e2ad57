"""Spread over seeds, and paired differences between arms with their 95% intervals.

A seed decides initial weights and order of rows in every arm alike, so that arms are compared seed
by seed: the differences of n seeds have Student's t with n - 1 degrees of freedom.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal[
    "better",
    "worse",
    "no difference shown",
    "one seed, no interval",
    "the same in every seed, no interval",
]

# 97.5% quantiles of Student's t for 1 to 10 degrees of freedom.
_T = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
_NORMAL = 1.959964
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Spread:
    """Values of one measure over the seeds."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """Standard deviation of one training from the next; None with one seed."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Difference:
    """How far an arm is from the reference, seed by seed."""

    mean: float
    low: float | None
    """Lower end of the 95% interval; None where the seeds tell nothing of a spread."""
    high: float | None
    verdict: Verdict


def difference(
    own: Sequence[float], other: Sequence[float], *, lower_is_better: bool
) -> Difference:
    """Compare values of an arm with those of the reference by a paired t interval.

    Args:
        own: of the arm, in the order of the seeds.
        other: of the reference, in the same order.
        lower_is_better: whether a loss is measured.
    """
    spread = Spread(tuple(a - b for a, b in zip(own, other, strict=True)))
    deviation, count = spread.deviation, len(spread.values)
    if deviation is None:
        return Difference(spread.mean, None, None, "one seed, no interval")
    if spread.mean and deviation <= abs(spread.mean) * _ROUNDING:
        # As of scores that count few items: an interval of no width would be a claim.
        return Difference(spread.mean, None, None, "the same in every seed, no interval")
    half = t_quantile(count - 1) * deviation / math.sqrt(count)
    low, high = spread.mean - half, spread.mean + half
    if low <= 0 <= high:
        return Difference(spread.mean, low, high, "no difference shown")
    is_better = (high < 0) == lower_is_better
    return Difference(spread.mean, low, high, "better" if is_better else "worse")


def t_quantile(degrees: int) -> float:
    """97.5% quantile of Student's t.

    Beyond the table by the expansion around the normal quantile (Abramowitz and Stegun, 26.7.5).
    """
    assert degrees >= 1
    if degrees <= len(_T):
        return _T[degrees - 1]
    z = _NORMAL
    first = (z**3 + z) / (4 * degrees)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3)
    return z + first + second + third
