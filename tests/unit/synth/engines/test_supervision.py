"""Engines that die, hang and do not start, and what the requests see of it."""

import asyncio
import time
from collections.abc import Callable

import pytest

from pipeline.errors import InputError
from synth.config import EngineConfig
from synth.engines import supervision
from synth.engines.protocol import (
    EngineDiedError,
    EngineLimits,
    Generation,
    Prompt,
    RequestFailedError,
)
from synth.engines.supervision import SupervisedEngine

KILLER, HANGER, REFUSED = Prompt([13]), Prompt([14]), Prompt([15])


class Mortal:
    """An engine in this process: dies of prompt 13, hangs at 14, refuses 15."""

    def __init__(self) -> None:
        self.dtype, self.limits = "", EngineLimits(8)
        self.last_sign_of_life_s = time.monotonic()
        self._death: asyncio.Event | None = None
        self.is_dead = False

    async def generate(self, prompt: Prompt, schema=None) -> Generation:
        if self.is_dead:
            raise EngineDiedError("dead")
        if prompt == KILLER:
            self.is_dead = True
        if prompt == HANGER:
            await asyncio.sleep(3600)
        if prompt == REFUSED:
            raise RequestFailedError("too rude")
        for _ in range(5):
            await asyncio.sleep(0.002)
            if self.is_dead:
                raise EngineDiedError("prompt 13")
        self.last_sign_of_life_s = time.monotonic()
        return Generation(str(prompt.token_ids[0]), 1)

    def shutdown(self) -> None:
        self.is_dead = True


class NoFamily:
    def kill(self) -> None:
        pass


def supervise(start: Callable[[], Mortal] = Mortal, **settings: float) -> SupervisedEngine:
    return SupervisedEngine(start, EngineConfig.model_validate(settings), NoFamily())  # type: ignore[arg-type]


async def ask(engine: SupervisedEngine, prompts: list[Prompt]) -> list[str]:
    replies = await asyncio.gather(
        *(engine.generate(prompt) for prompt in prompts), return_exceptions=True
    )
    return [
        reply.text if isinstance(reply, Generation) else f"{type(reply).__name__}: {reply}"
        for reply in replies
    ]


def test_a_killer_among_others_is_the_only_one_that_fails() -> None:
    engine = supervise()
    prompts = [Prompt([100 + number]) for number in range(20)]
    prompts.insert(7, KILLER)
    replies = asyncio.run(ask(engine, prompts))
    assert replies.pop(7) == "RequestFailedError: kills the engine every time: prompt 13"
    assert replies == [str(100 + number) for number in range(20)]
    assert engine.num_restarts >= 4


def test_requests_in_flight_when_the_engine_is_killed_are_asked_again() -> None:
    engines: list[Mortal] = []

    def start() -> Mortal:
        engines.append(Mortal())
        return engines[-1]

    async def work(engine: SupervisedEngine) -> list[str]:
        asking = asyncio.create_task(ask(engine, [Prompt([n]) for n in range(100, 110)]))
        await asyncio.sleep(0.003)
        engines[0].is_dead = True
        return await asking

    assert asyncio.run(work(supervise(start))) == [str(n) for n in range(100, 110)]
    assert len(engines) == 2


def test_an_engine_that_hangs_is_replaced_and_the_cause_is_found() -> None:
    engine = supervise(hang_timeout_s=0.2)
    replies = asyncio.run(ask(engine, [Prompt([100]), HANGER, Prompt([101])]))
    assert replies[0::2] == ["100", "101"]
    assert replies[1].startswith("RequestFailedError: kills the engine every time: it hangs")


def test_a_refused_request_concerns_nobody_else() -> None:
    engine = supervise()
    replies = asyncio.run(ask(engine, [REFUSED, Prompt([100])]))
    assert replies == ["RequestFailedError: too rude", "100"]
    assert engine.num_restarts == 0


def test_an_engine_that_refuses_everything_is_set_up_wrong() -> None:
    replies = asyncio.run(ask(supervise(), [REFUSED] * 20))
    assert replies == ["InputError: the engine refuses every request: too rude"] * 20


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            RuntimeError("no memory"),
            "JobFailedError: the engine does not start again: RuntimeError: no memory",
        ),
        (
            KeyError("gpu"),
            "JobFailedError: the engine does not start again: KeyError: 'gpu'",
        ),
        (InputError("no such model"), "InputError: no such model"),
    ],
)
def test_an_engine_that_does_not_start_again_ends_the_work(
    monkeypatch: pytest.MonkeyPatch, error: Exception, expected: str
) -> None:
    monkeypatch.setattr(supervision, "_MAX_FAILED_STARTS", 1)
    starts = 0

    def start() -> Mortal:
        nonlocal starts
        starts += 1
        if starts > 1:
            raise error
        return Mortal()

    replies = asyncio.run(ask(supervise(start), [KILLER, Prompt([100])]))
    assert replies == [expected, expected]


def test_an_engine_that_dies_of_everything_ends_the_work() -> None:
    class Stillborn(Mortal):
        async def generate(self, prompt: Prompt, schema=None) -> Generation:
            raise EngineDiedError("always")

    replies = asyncio.run(ask(supervise(Stillborn), [Prompt([n]) for n in range(100, 400)]))
    said = "JobFailedError: the engine dies of every request, 4 were tried alone: always"
    assert replies == [said] * 300


def test_a_start_beyond_its_deadline_is_killed() -> None:
    class Family:
        is_killed = False

        def kill(self) -> None:
            self.is_killed = True

    family = Family()

    def start() -> Mortal:
        deadline = time.monotonic() + 10
        while not family.is_killed:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        raise RuntimeError("the process is gone")

    config = EngineConfig(start_timeout_s=0.05)
    with pytest.raises(RuntimeError, match="gone"):
        SupervisedEngine(start, config, family)  # type: ignore[arg-type]
