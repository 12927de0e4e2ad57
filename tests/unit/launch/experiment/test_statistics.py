"""Spread and paired differences, against values worked out by hand."""

import pytest

from launch.experiment.statistics import Spread, difference, t_quantile


def test_spread_is_the_deviation_of_a_sample() -> None:
    spread = Spread((1.0, 2.0, 6.0))
    assert spread.mean == 3.0
    assert spread.deviation == pytest.approx(7**0.5)  # (4 + 1 + 9) / 2
    assert Spread((5.0,)).deviation is None


def test_differences_are_paired_by_seed() -> None:
    """Seeds differ by far more than arms do, which a paired interval does not mind."""
    reference, own = [1.0, 2.0, 3.0], [0.9, 1.8, 2.7]
    found = difference(own, reference, lower_is_better=True)
    # Differences -0.1, -0.2, -0.3: deviation 0.1, half width 4.3027 * 0.1 / sqrt(3) = 0.24842.
    assert found.mean == pytest.approx(-0.2)
    assert found.low == pytest.approx(-0.44842, abs=1e-5)
    assert found.high == pytest.approx(0.04842, abs=1e-5)
    assert found.verdict == "no difference shown"


@pytest.mark.parametrize(
    ("own", "lower_is_better", "verdict"),
    [
        ([0.80, 1.79, 2.81], True, "better"),
        ([0.80, 1.79, 2.81], False, "worse"),
        ([1.20, 2.21, 3.19], True, "worse"),
        ([1.20, 2.21, 3.19], False, "better"),
        ([1.0, 2.0, 3.0], True, "no difference shown"),
    ],
)
def test_a_verdict_needs_an_interval_that_excludes_zero(
    own: list[float], lower_is_better: bool, verdict: str
) -> None:
    found = difference(own, [1.0, 2.0, 3.0], lower_is_better=lower_is_better)
    assert found.verdict == verdict


def test_equal_differences_have_no_interval() -> None:
    found = difference([0.26, 0.27, 0.25], [0.25, 0.26, 0.24], lower_is_better=False)
    assert found.mean == pytest.approx(0.01)
    assert (found.low, found.high) == (None, None)
    assert found.verdict == "the same in every seed, no interval"


def test_one_seed_has_no_interval() -> None:
    found = difference([1.5], [1.0], lower_is_better=True)
    assert (found.mean, found.low, found.high) == (0.5, None, None)
    assert found.verdict == "one seed, no interval"


@pytest.mark.parametrize(
    ("degrees", "quantile"), [(1, 12.706), (2, 4.303), (10, 2.228), (11, 2.201), (30, 2.042)]
)
def test_quantiles_are_those_of_the_tables(degrees: int, quantile: float) -> None:
    assert t_quantile(degrees) == pytest.approx(quantile, abs=6e-4)
