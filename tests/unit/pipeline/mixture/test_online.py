"""Online rules: who gets more, and that a restart changes nothing."""

import json

import numpy as np
import pytest

from pipeline.mixture.config import OnlineConfig
from pipeline.mixture.online import OnlineRule, make_online_rule

EVEN = np.full(3, 1 / 3)


def make(rule: str, **settings: object) -> OnlineRule:
    options = {"every_steps": 5, "warmup_steps": 10, "window_steps": 20} | settings
    return make_online_rule(OnlineConfig(rule=rule, **options), EVEN)


def losses(step: int) -> np.ndarray:
    """The first falls fast, the second slowly, the third not at all."""
    return np.array([4 * 0.9**step + 1, 5 * 0.99**step + 1, 3.0])


def run(rule: OnlineRule, first: int, last: int) -> list[tuple[int, list[float]]]:
    found = []
    for step in range(first, last + 1):
        shares = rule.observe(step, losses(step))
        if shares is not None:
            assert shares.sum() == pytest.approx(1)
            assert (shares > 0).all()
            found.append((step, shares.tolist()))
    return found


@pytest.mark.parametrize("kind", ["odm", "coba"])
def test_weights_change_on_time_and_survive_a_restart(kind: str) -> None:
    whole = run(make(kind), 1, 60)
    assert [step for step, _ in whole] == list(range(15, 61, 5))
    for cut in (1, 9, 17, 33, 45):
        first, second = make(kind), make(kind)
        before = run(first, 1, cut)
        second.load_state(json.loads(json.dumps(first.state())))
        assert before + run(second, cut + 1, 60) == whole


def test_the_bandit_prefers_high_losses() -> None:
    _, shares = run(make("odm"), 1, 60)[-1]
    # At the end the losses are about 1, 3.7 and 3.
    assert shares[1] > shares[2] > shares[0]


def test_the_bandit_takes_a_source_without_tokens_as_unseen() -> None:
    rule = make("odm")
    for step in range(1, 41):
        shares = rule.observe(step, np.array([2.0, np.nan, 2.0]))
    assert shares is not None
    assert np.isfinite(shares).all()
    assert shares[1] < shares[0] == pytest.approx(shares[2])


def test_convergence_balance_gives_slow_sources_more() -> None:
    _, shares = run(make("coba"), 1, 40)[0]
    assert shares[1] > shares[0]


def test_convergence_balance_gives_a_diverging_source_less() -> None:
    def observe(slope: float) -> float:
        rule = make("coba", tau=50)
        for step in range(1, 41):
            third = 3.0 + max(0, step - 20) * slope
            shares = rule.observe(step, np.array([5 - 0.05 * step, 5 - 0.04 * step, third]))
        assert shares is not None
        return float(shares[2])

    assert observe(0.3) < observe(-0.03)


def test_convergence_balance_waits_until_every_source_was_seen() -> None:
    rule = make("coba")
    for step in range(1, 31):
        assert rule.observe(step, np.array([2.0, np.nan, 2.0])) is None
    assert rule.state()["first"] == [2.0, None, 2.0]
