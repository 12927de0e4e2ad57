"""Weights of source losses that are learned (Kendall, Gal and Cipolla, 2018, arXiv 1705.07115).

Each source has a log-variance s, and the loss of all is the sum over sources of
share * (exp(-s) * loss + s / 2), share being the source's part of the tokens. It is least at
exp(s) = 2 * loss: a source whose loss stays high counts less.
"""

import numpy as np


class UncertaintyWeights:
    """Log-variances by source; every rank keeps the same, as all see the same losses."""

    def __init__(self, num_sources: int, lr: float) -> None:
        """Start with all sources weighted 1."""
        self.log_variances = np.zeros(num_sources)
        self._lr = lr

    def weights(self, num_tokens: np.ndarray) -> np.ndarray:
        """(sources,) what each source's losses are multiplied by: 1 on average over the tokens.

        Args:
            num_tokens: (sources,) tokens of the batch.
        """
        raw = np.exp(-self.log_variances)
        weights: np.ndarray = raw / max(1e-30, float((raw * num_tokens).sum())) * num_tokens.sum()
        return weights

    def observe(self, losses: np.ndarray, num_tokens: np.ndarray) -> None:
        """One step of gradient descent.

        Args:
            losses: (sources,) mean cross-entropy; anything where a source had no tokens.
            num_tokens: (sources,) tokens behind them.
        """
        shares = num_tokens / max(1.0, num_tokens.sum())
        losses = np.where(num_tokens > 0, losses, 0.0)
        self.log_variances -= self._lr * shares * (0.5 - np.exp(-self.log_variances) * losses)
