"""Who writes which part: handed out one by one, taken back from workers that are gone.

    waiting ──take──▶ in flight ──finish──▶ done
       ▲                  │
       └──────lost────────┘  the worker died or fell silent

Nothing here is kept: what is done is what is committed, and a new queue starts from that.
"""

import contextlib
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

_DEATHS_BEFORE_CARE = 2
_DEATHS_OF_A_KILLER = 2


@dataclass(frozen=True)
class Assignment:
    """A part for a worker to write."""

    part: str
    is_careful: bool = False
    """Workers died while they had this part: one document after another, each announced."""
    killers: dict[str, str] = field(default_factory=dict)
    """Documents that workers died of, each with what it did: not to be touched any more."""


class PartQueue:
    """The parts of one run of a job.

    A part that workers die of is given to one that has no other and announces each document; the
    document announced last is to blame if that worker dies, too.
    """

    def __init__(self, parts: Iterable[str]) -> None:
        """Take the parts to write, in the order in which they are handed out."""
        self._waiting = deque(parts)
        self._holders: dict[str, set[str]] = {}
        self._deaths: Counter[str] = Counter()
        self._announced: dict[str, str] = {}
        self._blamed: Counter[str] = Counter()
        self._killers: dict[str, dict[str, str]] = {}
        self.num_taken_back = 0

    @property
    def num_waiting(self) -> int:
        """Parts that nobody is writing."""
        return len(self._waiting)

    @property
    def num_in_flight(self) -> int:
        """Parts that somebody is writing."""
        return len({part for parts in self._holders.values() for part in parts})

    @property
    def is_empty(self) -> bool:
        """Whether no part is left to write."""
        return not self._waiting and not self.num_in_flight

    def take(self, worker: str) -> Assignment | None:
        """The next part for a worker, if there is one that it may have now."""
        held = self._holders.setdefault(worker, set())
        if any(self._needs_care(part) for part in held):
            return None
        for index, part in enumerate(self._waiting):
            if not (held and self._needs_care(part)):
                del self._waiting[index]
                held.add(part)
                return Assignment(part, self._needs_care(part), self._killers.get(part, {}))
        return None

    def claim(self, worker: str, part: str) -> None:
        """A worker that was given up too early is still writing a part."""
        held = self._holders.setdefault(worker, set())
        if part not in held:
            held.add(part)
            self._drop_waiting(part)

    def announce(self, worker: str, document: str) -> None:
        """A worker with a careful part begins a document."""
        self._announced[worker] = document

    def finish(self, part: str) -> None:
        """A part is committed, whoever did it."""
        is_held = False
        for parts in self._holders.values():
            if part in parts:
                parts.remove(part)
                is_held = True
        if not is_held:  # it was taken back from the one who has committed it now
            self._drop_waiting(part)
        self._deaths.pop(part, None)
        self._killers.pop(part, None)

    def lost(self, worker: str, *, is_dead: bool) -> list[str]:
        """Take back what a worker had.

        Args:
            worker: the worker.
            is_dead: it died, as opposed to falling silent, which proves nothing against its parts.
        """
        taken_back = sorted(self._holders.pop(worker, ()))
        document = self._announced.pop(worker, None)
        for part in taken_back:
            self._deaths[part] += is_dead
        if is_dead and document is not None and len(taken_back) == 1:
            self._blamed[document] += 1
            if self._blamed[document] >= _DEATHS_OF_A_KILLER:
                said = f"the worker died {self._blamed[document]} times while writing about it"
                self._killers.setdefault(taken_back[0], {})[document] = said
        self._waiting.extendleft(reversed(taken_back))
        self.num_taken_back += len(taken_back)
        return taken_back

    def _drop_waiting(self, part: str) -> None:
        with contextlib.suppress(ValueError):
            self._waiting.remove(part)

    def _needs_care(self, part: str) -> bool:
        return self._deaths[part] >= _DEATHS_BEFORE_CARE
