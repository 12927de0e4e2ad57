"""Who writes which part: handed out one by one, taken back from workers that are gone.

    waiting ──take──▶ in flight ──finish──▶ done
       ▲                  │
       └──────lost────────┘  the worker died or fell silent

Nothing here is kept: what is done is what is committed, and a new queue starts from that.
"""

import math
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

_DEATHS_BEFORE_CARE = 3
_DEATHS_OF_A_KILLER = 2
_DEATHS_IN_CARE = 7
_SHARE_BY_CHANCE = 0.01
_ENOUGH_FINISHED = 100
_MOST_BY_CHANCE = 30
_ABSENT = object()


@dataclass(frozen=True)
class Assignment:
    """A part for a worker to write."""

    part: str
    is_careful: bool = False
    """Workers died while they had this part: one document after another, each announced."""
    killers: dict[str, str] = field(default_factory=dict)
    """Documents that workers died of, each with what it did: not to be touched any more."""


@dataclass(frozen=True)
class Loss:
    """What was taken back from a worker that is gone."""

    parts: list[str]
    document: str | None
    """The document that it announced last."""


class PartQueue:
    """The parts of one run of a job.

    A part that workers die of is given to one that has no other and announces each document; the
    document announced last is to blame if that worker dies, too.

    Where machines are reclaimed, workers die of no part, and the more often the longer parts take.
    How often, the parts tell that are finished all the same: one is under suspicion once it has
    seen more deaths than any part of the run would by chance.
    """

    def __init__(self, parts: Iterable[str]) -> None:
        """Take the parts to write, in the order in which they are handed out."""
        # Both are indexed by part: a thousand workers ask hundreds of times a second.
        self._waiting = OrderedDict[str, None].fromkeys(parts)
        self._holders: dict[str, set[str]] = {}
        self._workers_of: dict[str, set[str]] = {}
        self._deaths: Counter[str] = Counter()
        self._announced: dict[str, str] = {}
        self._blamed: Counter[str] = Counter()
        self._killers: dict[str, dict[str, str]] = {}
        self._num_parts = len(self._waiting)
        self._num_finished = self._num_survived = 0
        self._suspect_from = _DEATHS_BEFORE_CARE
        self.num_taken_back = 0

    @property
    def num_waiting(self) -> int:
        """Parts that nobody is writing."""
        return len(self._waiting)

    @property
    def num_in_flight(self) -> int:
        """Parts that somebody is writing."""
        return len(self._workers_of)

    @property
    def is_empty(self) -> bool:
        """Whether no part is left to write."""
        return not self._waiting and not self._workers_of

    @property
    def hopeless(self) -> str:
        """A part that workers die of whatever is done; empty: there is none."""
        most = self._suspect_from + _DEATHS_IN_CARE
        return next((part for part, deaths in self._deaths.items() if deaths >= most), "")

    def held_by(self, worker: str) -> set[str]:
        """Parts that a worker has."""
        return set(self._holders.get(worker, ()))

    def take(self, worker: str) -> Assignment | None:
        """The next part for a worker, if there is one that it may have now."""
        held = self._holders.setdefault(worker, set())
        if any(self._needs_care(part) for part in held):
            return None
        for part in self._waiting:
            if not (held and self._needs_care(part)):
                self._drop_waiting(part)
                self._hold(worker, part)
                return Assignment(part, self._needs_care(part), self._killers.get(part, {}))
        return None

    def claim(self, worker: str, part: str) -> None:
        """A worker that was given up too early is still writing a part."""
        if part not in self._holders.get(worker, ()):
            self._hold(worker, part)
            self._drop_waiting(part)

    def announce(self, worker: str, document: str) -> None:
        """A worker with a careful part begins a document; empty: it has ended the last one."""
        self._announced[worker] = document

    def finish(self, part: str) -> bool:
        """A part is committed, whoever did it; returns whether that is news."""
        holders = self._workers_of.pop(part, set())
        for worker in holders:
            self._holders[worker].remove(part)
        # If nobody has it, it was taken back from the one who has committed it now.
        is_waiting = self._drop_waiting(part)
        num_deaths, killers = self._deaths.pop(part, 0), self._killers.pop(part, None)
        if not killers:
            self._learn(num_deaths)
        return bool(holders) or is_waiting

    def give_back(self, worker: str, part: str) -> None:
        """A worker does not know of a part that it was given."""
        self._let_go(worker, part)
        self._put_first(part)

    def lost(self, worker: str) -> Loss:
        """Take back what a worker had that is gone, for whatever reason."""
        parts = sorted(self._holders.get(worker, ()))
        for part in reversed(parts):
            self._let_go(worker, part)
            self._put_first(part)
        self._holders.pop(worker, None)
        self.num_taken_back += len(parts)
        return Loss(parts, self._announced.pop(worker, None))

    def blame(self, loss: Loss) -> None:
        """A worker that is gone has died: what it had may be the cause."""
        self._deaths.update(loss.parts)
        if not loss.document or len(loss.parts) != 1:
            return
        self._blamed[loss.document] += 1
        if self._blamed[loss.document] >= _DEATHS_OF_A_KILLER:
            part = loss.parts[0]
            said = f"the worker died {self._blamed[loss.document]} times while writing about it"
            self._killers.setdefault(part, {})[loss.document] = said
            self._deaths[part] = self._suspect_from  # the cause is known; there may be another

    def _hold(self, worker: str, part: str) -> None:
        self._holders.setdefault(worker, set()).add(part)
        self._workers_of.setdefault(part, set()).add(worker)

    def _let_go(self, worker: str, part: str) -> None:
        self._holders[worker].discard(part)
        workers = self._workers_of.get(part, set())
        workers.discard(worker)
        if not workers:
            self._workers_of.pop(part, None)

    def _put_first(self, part: str) -> None:
        self._waiting[part] = None
        self._waiting.move_to_end(part, last=False)

    def _drop_waiting(self, part: str) -> bool:
        return self._waiting.pop(part, _ABSENT) is not _ABSENT

    def _needs_care(self, part: str) -> bool:
        return self._deaths[part] >= self._suspect_from

    def _learn(self, num_deaths: int) -> None:
        """A part is finished that workers had died with so often, and was not the cause.

        With a share p of all that is handed out lost by chance, n parts see k deaths in a row
        n * p^k times; k is raised until that is a hundredth.
        """
        self._num_finished += 1
        self._num_survived += num_deaths
        if self._num_finished < _ENOUGH_FINISHED or not self._num_survived:
            return
        lost = self._num_survived / (self._num_survived + self._num_finished)
        by_chance = math.log(_SHARE_BY_CHANCE / self._num_parts) / math.log(lost)
        self._suspect_from = min(max(_DEATHS_BEFORE_CARE, math.ceil(by_chance)), _MOST_BY_CHANCE)
