"""How many chains are under way at once: enough that the engine never waits, no more.

An engine batches so many requests and no more. Were all chains of a part begun at once, the first
rounds of thousands of them would queue in the engine, and when a second round came its prefix would
long have left the cache. So a chain begins only when one before it has ended.
"""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import AsyncIterator, Mapping

from synth.engines.protocol import EngineLimits

# Chains between two rounds, whose reply is being read or whose next prompt is being built.
_SHARE_BETWEEN_ROUNDS = 8
_MIN_BETWEEN_ROUNDS = 2


class ChainSlots:
    """First come, first served: chains of the older part go before those of the younger."""

    def __init__(self, limits: EngineLimits) -> None:
        """Size the slots from what the engine can have in work."""
        self._limits = limits
        self._num_taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._num_requests = self._num_tokens = 0

    @contextlib.asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Hold a slot for the length of a block."""
        if self._waiting or self._num_taken >= self.capacity():
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():  # it was given the slot all the same
                    self._release()
                raise
        else:
            self._num_taken += 1
        try:
            yield
        finally:
            self._release()

    def note(self, counts: Mapping[str, int]) -> None:
        """Learn from a chain's counts how many tokens a request takes."""
        self._num_requests += counts.get("requests", 0)
        self._num_tokens += counts.get("prompt_tokens", 0) + counts.get("output_tokens", 0)

    def capacity(self) -> int:
        """Chains that may be under way, by requests and by room in the KV cache."""
        at_once = self._limits.max_requests
        if self._limits.kv_cache_tokens is not None and self._num_tokens:
            mean_tokens = self._num_tokens / self._num_requests
            fitting = math.ceil(self._limits.kv_cache_tokens / mean_tokens)
            at_once = max(1, min(at_once, fitting))
        return chains_at_once(at_once)

    def _release(self) -> None:
        self._num_taken -= 1
        while self._waiting and self._num_taken < self.capacity():
            turn = self._waiting.popleft()
            if not turn.done():
                self._num_taken += 1
                turn.set_result(None)


def chains_at_once(num_requests: int) -> int:
    """Chains that keep so many requests in the engine."""
    return num_requests + max(_MIN_BETWEEN_ROUNDS, num_requests // _SHARE_BETWEEN_ROUNDS)
