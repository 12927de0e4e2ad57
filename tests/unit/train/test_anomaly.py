"""Losses that are not finite, or leap."""

import math

import pytest

from train.anomaly import LossWatch
from train.config import AnomalyConfig


def fed(losses: list[float], **settings) -> tuple[LossWatch, list[str | None]]:
    watch = LossWatch(AnomalyConfig.model_validate(settings))
    found = []
    for loss in losses:
        found.append(watch.judge(loss))
        watch.note(loss, found[-1])
    return watch, found


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_must_be_finite_from_the_first_step(loss: float) -> None:
    _, found = fed([loss, 1.0])
    assert "not finite" in (found[0] or "")
    assert found[1] is None


def test_a_spike_is_told_from_what_is_usual() -> None:
    watch, found = fed([4.0, 3.9, 4.1, 4.0, 6.1, 4.0, 8.5], spike_ratio=1.5, window=4)
    assert [number for number, each in enumerate(found) if each] == [4, 6]
    assert found[4] == "the loss (6.1000) is 1.5 times the usual 4.0000"
    assert watch.num_in_a_row == 1


def test_before_the_window_is_full_nothing_is_a_spike() -> None:
    assert not any(fed([4.0, 9.0, 20.0], spike_ratio=1.5, window=4)[1])


def test_without_a_ratio_nothing_is_a_spike() -> None:
    assert not any(fed([4.0] * 70 + [400.0])[1])


def test_a_state_goes_on_where_it_stood() -> None:
    losses = [4.0, 3.9, 4.1, 4.0, math.nan]
    watch, _ = fed(losses, spike_ratio=1.5, window=4)
    other = LossWatch(AnomalyConfig(spike_ratio=1.5, window=4))
    other.load_state(watch.state())
    assert other.num_in_a_row == 1
    assert other.judge(6.2) == watch.judge(6.2) is not None
    other.load_state({})
    assert other.judge(6.2) is None
