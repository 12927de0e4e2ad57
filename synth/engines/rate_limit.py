"""A budget that refills with time: so many requests, or tokens, a minute."""

import asyncio
import time


class RateLimit:
    """Lets its users through in the order they come, no faster than the budget refills."""

    def __init__(self, per_minute: int | None) -> None:
        """Start with a second's worth, so that a start is no burst.

        Args:
            per_minute: units a minute; None: no limit.
        """
        self._per_s = per_minute / 60 if per_minute is not None else None
        self._free_at_s = 0.0
        """When all that was taken so far will have been earned."""

    async def take(self, amount: float) -> None:
        """Wait until `amount` units may be used."""
        if self._per_s is None:
            return
        now = time.monotonic()
        begins = max(self._free_at_s, now - 1.0)
        self._free_at_s = begins + amount / self._per_s
        if begins > now:
            await asyncio.sleep(begins - now)
