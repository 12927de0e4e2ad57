"""Weights of source losses that are learned."""

import numpy as np
import pytest

from train.uncertainty import UncertaintyWeights

TOKENS = np.array([300.0, 100.0])


def test_a_source_whose_loss_stays_high_counts_less() -> None:
    weights = UncertaintyWeights(2, lr=0.05)
    assert weights.weights(TOKENS).tolist() == [1, 1]
    for _ in range(3000):
        weights.observe(np.array([1.0, 4.0]), TOKENS)
    # Least at exp(s) = 2 * loss.
    np.testing.assert_allclose(np.exp(weights.log_variances), [2, 8], rtol=1e-3)
    found = weights.weights(TOKENS)
    assert found[0] / found[1] == pytest.approx(4, rel=1e-2)
    assert (found * TOKENS).sum() == pytest.approx(TOKENS.sum()), "the loss keeps its size"


def test_a_source_without_tokens_changes_nothing() -> None:
    weights = UncertaintyWeights(2, lr=0.1)
    weights.observe(np.array([1.0, np.nan]), np.array([10.0, 0.0]))
    assert weights.log_variances[1] == 0
    assert weights.log_variances[0] != 0
