"""Which requests kill an engine: found by bisection, however many were in flight when it died.

death 1: 1 2 3 4 in flight           all are asked again, nobody is suspected: it may have been
the machine's doing
death 2: 1 2 3 4 still among them    twice is no accident: 1 2 alone are let in, all others wait
both answered                        1 2 are cleared, 3 4 are let in
death 3: 3 4                         3 is let in
answered                             3 is cleared, 4 is let in
death 4, death 5: 4 alone            4 is the culprit; everybody else goes on
"""

from collections import Counter, deque
from collections.abc import Collection

_DEATHS_BEFORE_SUSPICION = 2
_DEATHS_ALONE = 2


class Isolation:
    """Decides which requests may run; pure bookkeeping, told of starts, ends and deaths."""

    def __init__(self) -> None:
        """Suspect nobody."""
        self._deaths_seen: Counter[int] = Counter()
        self._deaths_alone: Counter[int] = Counter()
        self._trials: deque[list[int]] = deque()

    @property
    def is_active(self) -> bool:
        """Whether suspects are on trial, so that all others have to wait."""
        return bool(self._trials)

    def may_run(self, request: int) -> bool:
        """Whether a request may go to the engine now."""
        return not self._trials or request in self._trials[0]

    def ended(self, request: int) -> None:
        """A request was answered or given up: it is under no suspicion any more."""
        del self._deaths_seen[request], self._deaths_alone[request]
        for trial in self._trials:
            if request in trial:
                trial.remove(request)
        self._drop_empty_trials()

    def engine_died(self, in_flight: Collection[int]) -> int | None:
        """Take note of a death.

        Args:
            in_flight: the requests that were in the engine.

        Returns:
            The request that is proven to kill the engine, if this death proved it.
        """
        self._deaths_seen.update(in_flight)
        if not self._trials:
            suspects = [
                request
                for request in sorted(in_flight)
                if self._deaths_seen[request] >= _DEATHS_BEFORE_SUSPICION
            ]
            if suspects:
                self._trials.extend(_halves(suspects))
            return None
        trial = self._trials[0]
        if not any(request in in_flight for request in trial):
            return None  # it died before any of them was let in
        if len(trial) > 1:
            self._trials.popleft()
            self._trials.extendleft(reversed(_halves(trial)))
            return None
        self._deaths_alone[trial[0]] += 1
        if self._deaths_alone[trial[0]] < _DEATHS_ALONE:
            return None
        return trial[0]

    def _drop_empty_trials(self) -> None:
        self._trials = deque(trial for trial in self._trials if trial)


def _halves(requests: list[int]) -> list[list[int]]:
    middle = (len(requests) + 1) // 2
    return [half for half in (requests[:middle], requests[middle:]) if half]
