"""Losses that are not finite or leap: noticed, counted, and what to do about them."""

import math
import statistics
from collections import deque
from typing import Any

from train.config import AnomalyConfig

NOT_FINITE = "the gradients are not finite"


class LossWatch:
    """Says of each step's loss whether something is wrong; the same on every rank."""

    def __init__(self, config: AnomalyConfig) -> None:
        """Start with no losses seen."""
        self._spike_ratio = config.spike_ratio
        self._usual: deque[float] = deque(maxlen=config.window)
        self.num_in_a_row = 0
        """Anomalies one after the other, up to now."""

    def judge(self, loss: float) -> str | None:
        """What is wrong with this loss, in words; None if nothing is."""
        if not math.isfinite(loss):
            return f"the loss is not finite ({loss})"
        if self._spike_ratio and len(self._usual) == self._usual.maxlen:
            median = statistics.median(self._usual)
            if loss > self._spike_ratio * median:
                return f"the loss ({loss:.4f}) is {loss / median:.1f} times the usual {median:.4f}"
        return None

    def note(self, loss: float, anomaly: str | None) -> None:
        """Remember a step: its loss, or that something was wrong."""
        if anomaly is None:
            self._usual.append(loss)
            self.num_in_a_row = 0
        else:
            self.num_in_a_row += 1

    def state(self) -> dict[str, Any]:
        """For `load_state`; JSON values."""
        return {"usual": list(self._usual), "num_in_a_row": self.num_in_a_row}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state; an empty one is that of the beginning."""
        self._usual.clear()
        self._usual.extend(state.get("usual", ()))
        self.num_in_a_row = int(state.get("num_in_a_row", 0))
