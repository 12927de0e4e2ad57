"""Budgets a minute."""

import asyncio

import pytest

from synth.engines import rate_limit
from synth.engines.rate_limit import RateLimit


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits that were asked for, on a clock that stands still."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(round(seconds, 6))

    monkeypatch.setattr(rate_limit.time, "monotonic", lambda: 1000.0)
    monkeypatch.setattr(rate_limit.asyncio, "sleep", sleep)
    return waits


def test_waits_add_up_beyond_a_second_of_budget(slept: list[float]) -> None:
    async def take() -> None:
        limit = RateLimit(120)  # two a second
        for _ in range(6):
            await limit.take(1)

    asyncio.run(take())
    assert slept == [0.5, 1.0, 1.5]


def test_no_limit_never_waits(slept: list[float]) -> None:
    asyncio.run(RateLimit(None).take(10**9))
    assert slept == []
