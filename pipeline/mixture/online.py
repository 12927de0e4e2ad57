"""Rules that change the weights by the losses while a run is under way.

    losses of a step ──observe──▶ new weights now and then ──▶ Event(row, weights) of the schedule

A rule holds nothing that its state does not, so a run goes on after a restart as if it had not
stopped, and a replay needs the events alone. Rows drawn are rows drawn: no rule touches the past.
"""

import math
from collections import deque
from typing import Any, Protocol

import numpy as np

from pipeline.mixture.config import OnlineConfig


class OnlineRule(Protocol):
    """Decides weights from losses."""

    def observe(self, step: int, losses: np.ndarray) -> np.ndarray | None:
        """Take the losses of one step.

        Args:
            step: optimizer step, from 1.
            losses: (num_sources,) float64 mean loss a token; NaN where a source had none.

        Returns:
            (num_sources,) float64 shares from the next step on, or None to leave them.
        """
        ...

    def state(self) -> dict[str, Any]:
        """Everything learned, as JSON values."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        ...


def make_online_rule(config: OnlineConfig, shares: np.ndarray) -> OnlineRule:
    """The rule of a config, starting from `shares`, (num_sources,) float64 that sum to 1."""
    if config.rule == "odm":
        return LossBandit(config, shares)
    return ConvergenceBalance(config, len(shares))


class LossBandit:
    """Online Data Mixing (Albalak et al., arXiv 2312.02406): Exp3, a source's loss its reward.

    The reward estimate is a moving average of loss / share, so that a source seen rarely is not
    judged less. Shares mix a softmax of the estimates with even ones; the even part shrinks as
    e_t = min(1/K, sqrt(ln K / (K t))), t in steps: before K ln K of them all shares are even.
    """

    def __init__(self, config: OnlineConfig, shares: np.ndarray) -> None:
        """Start from `shares`."""
        self._config = config
        self._shares = np.array(shares, dtype=np.float64)
        self._rewards = np.zeros(len(shares))
        self._last_change = 0

    def observe(self, step: int, losses: np.ndarray) -> np.ndarray | None:
        """See `OnlineRule.observe`."""
        seen = np.isfinite(losses) & (self._shares > 0)
        keep = self._config.smoothing
        rewards = losses[seen] / (self._shares[seen] * len(losses))
        self._rewards[seen] = keep * self._rewards[seen] + (1 - keep) * rewards
        if step <= self._config.warmup_steps or step % self._config.every_steps:
            return None
        count = len(self._shares)
        explore, explore_before = (
            min(1 / count, math.sqrt(math.log(max(count, 2)) / (count * max(1, t))))
            for t in (step, self._last_change)
        )
        self._last_change = step
        # e_{t-1} R with R over K shares, as above, is e_{t-1} K R in the paper's scale.
        raised = _softmax(explore_before * count * self._rewards)
        self._shares = (1 - count * explore) * raised + explore
        return self._shares.copy()

    def state(self) -> dict[str, Any]:
        """See `OnlineRule.state`."""
        return {
            "shares": self._shares.tolist(),
            "rewards": self._rewards.tolist(),
            "last_change": self._last_change,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """See `OnlineRule.load_state`."""
        self._shares = np.array(state["shares"])
        self._rewards = np.array(state["rewards"])
        self._last_change = int(state["last_change"])


class ConvergenceBalance:
    """CoBa (Gong et al., arXiv 2410.06741): slow sources get more, as long as none diverges.

    From the slope a_i of each source's loss over a window, relative to its first loss:

        relative   softmax over sources of  K a_i / sum_i |a_i|       slow ones up
        absolute   softmax over sources of  -N a_i / sum_t |a_i(t)|   diverging ones down
        share      D relative + (1 - D) absolute, D near 1 while the steepest slope keeps falling

    The paper weighs losses of fine-tuning tasks; here the same weights are shares of rows, and
    training losses stand for validation losses.
    """

    def __init__(self, config: OnlineConfig, num_sources: int) -> None:
        """Know nothing yet."""
        self._config, self._count = config, num_sources
        self._first = np.full(self._count, np.nan)
        self._last = np.full(self._count, np.nan)
        self._ratios: deque[list[float]] = deque(maxlen=config.window_steps)
        self._slopes: deque[list[float]] = deque(maxlen=config.window_steps)
        self._steepest: list[float] = []

    def observe(self, step: int, losses: np.ndarray) -> np.ndarray | None:
        """See `OnlineRule.observe`."""
        seen = np.isfinite(losses)
        self._first = np.where(np.isnan(self._first) & seen, losses, self._first)
        self._last = np.where(seen, losses, self._last)
        if np.isnan(self._last).any():
            return None  # a source has not been seen yet
        self._ratios.append((self._last / self._first).tolist())
        if len(self._ratios) < 2:
            return None
        slopes = _slopes(np.array(self._ratios))
        self._slopes.append(slopes.tolist())
        if step <= self._config.warmup_steps or step % self._config.every_steps:
            return None
        self._steepest.append(float(slopes.max()))
        return self._balance(slopes)

    def _balance(self, slopes: np.ndarray) -> np.ndarray:
        past = np.abs(np.array(self._slopes)).sum(axis=0)
        relative = _softmax(self._count * slopes / max(np.abs(slopes).sum(), 1e-12))
        absolute = _softmax(-len(self._slopes) * slopes / np.maximum(past, 1e-12))
        steepest = np.array(self._steepest)
        times = np.arange(1, len(steepest) + 1)
        total = max(float(np.abs(steepest).sum()), 1e-12)
        divergence = _softmax(-self._config.tau * times * steepest / total)[-1]
        factor = min(len(steepest) * float(divergence), 1.0)
        shares = factor * relative + (1 - factor) * absolute
        least = self._config.min_share / self._count
        return np.asarray(least + (1 - self._config.min_share) * shares)

    def state(self) -> dict[str, Any]:
        """See `OnlineRule.state`."""
        return {
            "first": _none_for_nan(self._first),
            "last": _none_for_nan(self._last),
            "ratios": list(self._ratios),
            "slopes": list(self._slopes),
            "steepest": self._steepest,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """See `OnlineRule.load_state`."""
        self._first = np.array(state["first"], dtype=np.float64)  # None becomes NaN
        self._last = np.array(state["last"], dtype=np.float64)
        self._ratios.extend(state["ratios"])
        self._slopes.extend(state["slopes"])
        self._steepest = list(state["steepest"])


def _none_for_nan(values: np.ndarray) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def _softmax(values: np.ndarray) -> np.ndarray:
    raised = np.exp(values - values.max())
    return np.asarray(raised / raised.sum())


def _slopes(ratios: np.ndarray) -> np.ndarray:
    """Slope of each column of (steps, num_sources) by least squares, (num_sources,)."""
    steps = np.arange(len(ratios)) - (len(ratios) - 1) / 2
    return np.asarray(steps @ ratios / (steps @ steps))
