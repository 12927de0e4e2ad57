"""Mixture rules: shares of sources from their sizes. Pure functions on arrays.

Sizes and budgets are in rows; as all rows are equally long, also shares of tokens.
"""

import fnmatch
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.errors import InputError


def proportional(sizes: np.ndarray) -> np.ndarray:
    """(num_sources,) float64 shares in proportion to sizes."""
    return np.asarray(sizes / sizes.sum(), dtype=np.float64)


def temperature(sizes: np.ndarray, value: float) -> np.ndarray:
    """Shares in proportion to sizes^(1 / value) (mT5, arXiv 2010.11934)."""
    raised = (sizes / sizes.max()) ** (1 / value)
    return np.asarray(raised / raised.sum(), dtype=np.float64)


def size_capped(sizes: np.ndarray, cap: float) -> np.ndarray:
    """Examples-proportional shares with an artificial limit (T5, arXiv 1910.10683; ExT5)."""
    return proportional(np.minimum(sizes, cap))


def unimax(sizes: np.ndarray, budget: float, room: np.ndarray) -> np.ndarray:
    """Even shares, but for sources too small for theirs (UniMax, arXiv 2304.09151).

    Args:
        sizes: rows of each source.
        budget: rows to draw.
        room: rows each source may still give, its cap less what it gave before.

    Raises:
        InputError: all caps together are below the budget.
    """
    if room.sum() < budget * (1 - 1e-9):
        raise InputError(
            f"mixture: max_epochs lets the sources give {int(room.sum()):,} rows and the run takes "
            f"{int(budget):,}; raise max_epochs {budget / room.sum():.2f}-fold, shorten the run "
            f"(train.num_steps) or pack more text"
        )
    taken = np.zeros(len(sizes))
    left = float(budget)
    order = np.argsort(room, kind="stable")
    for number, source in enumerate(order):
        taken[source] = min(room[source], left / (len(order) - number))
        left -= taken[source]
    return np.asarray(taken / taken.sum(), dtype=np.float64)


def ratio(names: Sequence[str], sizes: np.ndarray, weights: Mapping[str, float]) -> np.ndarray:
    """Shares by groups of sources; within a group in proportion to size.

    Raises:
        InputError: a group with weight has no source, or none of its sources has a row.
    """
    shares = np.zeros(len(names))
    group_of = [next((p for p in weights if fnmatch.fnmatchcase(n, p)), None) for n in names]
    for pattern, weight in weights.items():
        members = np.array([found == pattern for found in group_of])
        total = sizes[members].sum()
        if weight > 0 and total == 0:
            raise InputError(
                f"mixture ratio {pattern!r} = {weight:g}: "
                + (
                    "its sources have no training row"
                    if members.any()
                    else f"no source is left that matches; there are {', '.join(names)}"
                )
            )
        if weight > 0:
            shares[members] = weight * sizes[members] / total
    return np.asarray(shares / shares.sum(), dtype=np.float64) if shares.sum() else shares


def repeated(names: Sequence[str], sizes: np.ndarray, factors: Mapping[str, float]) -> np.ndarray:
    """Sizes with each source counted as often as the first matching pattern says."""
    scale = [
        next((factor for p, factor in factors.items() if fnmatch.fnmatchcase(name, p)), 1.0)
        for name in names
    ]
    return np.asarray(sizes * np.array(scale), dtype=np.float64)
