"""An engine that stays: started anew when it dies or hangs, its requests asked again.

The chains that wait for the replies notice nothing but the time it takes. A request that kills the
engine every time is found by bisection (`synth.engines.isolation`) and fails; the others go on.
"""

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pipeline.errors import InputError, JobFailedError
from pipeline.process import ProcessFamily
from pipeline.progress import log_line
from synth.config import EngineConfig
from synth.engines.isolation import Isolation
from synth.engines.protocol import (
    Engine,
    EngineDiedError,
    Generation,
    Prompt,
    RequestFailedError,
)

_MAX_FAILED_STARTS = 3
_MAX_CONDEMNED_IN_A_ROW = 4
_MAX_LOOK_INTERVAL_S = 5.0


class SupervisedEngine:
    """Any engine, under a watchdog; has the same protocol."""

    def __init__(
        self, start: Callable[[], Engine], config: EngineConfig, family: ProcessFamily
    ) -> None:
        """Start the engine for the first time.

        Args:
            start: starts an engine; called again after each death.
            config: the deadlines.
            family: what finds the processes that an engine leaves behind.

        Raises:
            RuntimeError: it did not start; whatever else its library raises.
        """
        self._start, self._config, self._family = start, config, family
        # One thread for good: some libraries tie what they start to the thread that did it.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="engine-starter")
        self._engine: Engine = self._starter.submit(self._start_by_deadline).result()
        self.dtype, self.limits = self._engine.dtype, self._engine.limits
        self.num_restarts = 0
        self._isolation = Isolation()
        self._numbers = itertools.count(1)
        self._in_flight: set[int] = set()
        self._busy_since_s = 0.0
        self._condemned: dict[int, str] = {}
        self._num_condemned_in_a_row = 0
        self._failure: Exception | None = None
        self._active: set[int] = set()
        self._refused: set[int] = set()
        self._has_answered = False
        self._changed = asyncio.Condition()
        self._death: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def last_sign_of_life_s(self) -> float:
        """That of the engine at work now."""
        return self._engine.last_sign_of_life_s

    async def generate(self, prompt: Prompt, schema: dict[str, Any] | None = None) -> Generation:
        """Continue one prompt, on as many engines in a row as it takes.

        Raises:
            RequestFailedError: the request kills every engine, or the engine refuses it.
            JobFailedError: engines do not start, or die of every request.
            InputError: the engine refuses every request.
        """
        self._begin()
        number = next(self._numbers)
        self._active.add(number)
        try:
            while number not in self._condemned:
                await self._admit(number)
                reply = await self._ask(number, prompt, schema)
                if reply is not None:
                    return await self._take_note(reply)
            raise RequestFailedError(self._condemned.pop(number))
        except RequestFailedError as error:
            if not self._has_answered:
                await self._await_first_answer(number, error)
            raise
        finally:
            self._active.discard(number)
            self._refused.discard(number)
            was_active = self._isolation.is_active
            self._isolation.ended(number)
            if was_active or self._refused:
                await self._tell_waiting()

    def shutdown(self) -> None:
        """End the engine."""
        for task in self._tasks:
            if not task.get_loop().is_closed():
                task.get_loop().call_soon_threadsafe(task.cancel)
        self._starter.shutdown(wait=False, cancel_futures=True)
        self._engine.shutdown()

    async def _take_note(self, reply: Generation) -> Generation:
        self._num_condemned_in_a_row = 0
        if not self._has_answered:
            self._has_answered = True
            await self._tell_waiting()
        return reply

    async def _await_first_answer(self, number: int, refusal: RequestFailedError) -> None:
        """Hold a refusal back until the engine has shown that it answers others.

        Raises:
            InputError: it refuses all requests there are, so that the request is not the cause.
        """
        self._refused.add(number)
        self._isolation.ended(number)
        async with self._changed:
            self._changed.notify_all()
            await self._changed.wait_for(
                lambda: self._has_answered or self._failure or self._refused >= self._active
            )
        if self._has_answered:
            return
        if self._failure is None:
            self._failure = InputError(f"the engine refuses every request: {refusal}")
            await self._tell_waiting()
        raise self._failure

    def _begin(self) -> None:
        """Start the watchdog, once there is a loop to run it."""
        if self._death is None:
            self._death = asyncio.get_running_loop().create_future()
            self._spawn(self._watch())

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _admit(self, number: int) -> None:
        """Wait until the engine is up and the request is not held back as a bystander."""
        if not self._may_run(number):
            async with self._changed:
                await self._changed.wait_for(lambda: self._failure or self._may_run(number))
        if self._failure:
            raise self._failure

    def _may_run(self, number: int) -> bool:
        assert self._death is not None
        is_up = not self._death.done() and self._failure is None
        return is_up and self._isolation.may_run(number)

    async def _ask(
        self, number: int, prompt: Prompt, schema: dict[str, Any] | None
    ) -> Generation | None:
        """The engine's reply; None if it died."""
        death = self._death
        assert death is not None
        if not self._in_flight:
            self._busy_since_s = time.monotonic()
        self._in_flight.add(number)
        work = asyncio.ensure_future(self._engine.generate(prompt, schema))
        try:
            await asyncio.wait((work, death), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                return None
            return work.result()
        except EngineDiedError as error:
            if not death.done():
                self._declare_dead(str(error))
            return None
        finally:
            self._in_flight.discard(number)
            if not work.done():
                work.add_done_callback(_look_at)
                work.cancel()

    def _declare_dead(self, reason: str) -> None:
        """Let go of all requests in flight and start another engine."""
        assert self._death is not None
        self._death.set_result(None)
        log_line(f"engine died with {len(self._in_flight)} requests in flight: {reason}")
        culprit = self._isolation.engine_died(self._in_flight)
        if culprit is not None:
            self._num_condemned_in_a_row += 1
            self._condemned[culprit] = f"kills the engine every time: {reason}"
            log_line(f"request {culprit} {self._condemned[culprit]}")
        self._in_flight = set()
        self._spawn(self._restart(reason))

    async def _restart(self, reason: str) -> None:
        self._failure = await self._start_again(reason) or self._failure
        self.num_restarts += 1
        self._death = asyncio.get_running_loop().create_future()
        log_line("engine is up again" if self._failure is None else str(self._failure))
        await self._tell_waiting()

    async def _start_again(self, reason: str) -> Exception | None:
        """Replace the engine; return why there will be none, if so."""
        if self._num_condemned_in_a_row >= _MAX_CONDEMNED_IN_A_ROW:
            return JobFailedError(
                f"the engine dies of every request, {self._num_condemned_in_a_row} were tried "
                f"alone: {reason}"
            )
        loop = asyncio.get_running_loop()
        for attempt in range(_MAX_FAILED_STARTS):
            try:
                await loop.run_in_executor(self._starter, self._clear_away)
                self._engine = await loop.run_in_executor(self._starter, self._start_by_deadline)
            except InputError as error:
                return error
            except Exception as error:  # noqa: BLE001 - whatever it is, the requests must hear of it
                reason = f"{type(error).__name__}: {error}"
                await asyncio.sleep(2.0**attempt)
            else:
                return None
        return JobFailedError(f"the engine does not start again: {reason}")

    async def _tell_waiting(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _watch(self) -> None:
        """The watchdog: an engine that has requests and shows no life is as good as dead."""
        limit_s = self._config.hang_timeout_s
        while True:
            await asyncio.sleep(min(_MAX_LOOK_INTERVAL_S, limit_s / 4))
            assert self._death is not None
            if not self._in_flight or self._death.done():
                continue
            quiet_s = time.monotonic() - max(self.last_sign_of_life_s, self._busy_since_s)
            if quiet_s > limit_s:
                self._declare_dead(f"it hangs: no sign of life for {quiet_s:.0f} s")

    def _start_by_deadline(self) -> Engine:
        """Start an engine; one that is not up in time is killed, which ends the attempt."""
        deadline = threading.Timer(self._config.start_timeout_s, self._family.kill)
        deadline.daemon = True
        deadline.start()
        try:
            return self._start()
        finally:
            deadline.cancel()

    def _clear_away(self) -> None:
        """End what is left of an engine; a hung one does not answer and is killed first."""
        self._family.kill()
        # Its library finds its processes gone, and may say so.
        with contextlib.suppress(RuntimeError, OSError):
            self._engine.shutdown()


def _look_at(work: "asyncio.Future[Generation]") -> None:
    """Take note of how a request of a dead engine ended, or asyncio would complain of it."""
    if not work.cancelled():
        work.exception()
