"""The one place that knows how a job stands: a small Ray actor beside the driver.

    SynthWorker ──take, report──▶ JobBoard ◀──figures, stop── driver

Workers ask it for parts and tell it how they get on; the driver asks for the sums. It holds no
text, and nothing that cannot be had again: after its own death it starts from what is committed.
"""

import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline import storage
from pipeline.errors import InputError
from pipeline.stage import committed_names
from synth.part_queue import Assignment, Loss, PartQueue

_SILENCE_S = 30.0


@dataclass(frozen=True)
class Reply:
    """What a worker is told that asks for a part; without an assignment it asks again later."""

    assignment: Assignment | None = None
    is_over: bool = False
    """Nothing is left, or the job is being stopped."""


@dataclass(frozen=True)
class WorkerReport:
    """How a worker gets on."""

    counts_by_part: dict[str, dict[str, int]]
    """Counts so far, by each part that it has."""
    num_engine_restarts: int = 0


@dataclass(frozen=True)
class FinishedPart:
    """A part that is committed, and the counts of it."""

    part: str
    counts: Mapping[str, int]
    is_ours: bool
    """Whether this worker's files count; False: another was faster."""


@dataclass(frozen=True)
class News:
    """What the driver asks for each second."""

    figures: dict[str, int]
    """How the job stands, counted since this start unless a name says otherwise."""
    troubles: list[str]
    """What workers complained of since the last time."""
    hopeless_part: str
    """A part that workers die of whatever is done; empty: there is none."""


@dataclass
class _Worker:
    heard_s: float
    report: WorkerReport = field(default_factory=lambda: WorkerReport({}))
    unknown_to_it: set[str] = field(default_factory=set)
    """Parts that it was given and that its last report did not name."""


class JobBoard:
    """Hands out parts and sums up; all times are `time.monotonic` of its own process.

    A worker is named by the id of its actor, which lives once.
    """

    def __init__(self, documents_folder: str, stage_folder: str, min_workers: int = 1) -> None:
        """Look what is committed; no sidecar is opened.

        Args:
            documents_folder: the parts that there are.
            stage_folder: where they are committed.
            min_workers: so many stay to the end, to take over parts of workers that die.

        Raises:
            InputError: the stage holds a part that its input does not have.
        """
        self._num_parts, todo = find_todo(documents_folder, stage_folder)
        self._num_done_before = self._num_parts - len(todo)
        if not storage.is_local(stage_folder) and todo:
            # Runs that share a folder begin at different ends of the work, and seldom meet.
            start = random.randrange(len(todo))
            todo = todo[start:] + todo[:start]
        self._queue = PartQueue(todo)
        self._workers: dict[str, _Worker] = {}
        self._silent: dict[str, Loss] = {}
        self._min_workers, self._dismissed = min_workers, set[str]()
        self._troubles: list[str] = []
        self._finished: Counter[str] = Counter()
        self._num_started = self._num_lost = self._num_restarts_of_gone = 0
        self._is_stopping = False
        self._gauges = _Gauges()

    def bury(self, worker: str) -> None:
        """A worker died: its parts go to others, and what it wrote about is suspect."""
        if worker in self._workers:
            self._queue.blame(self._give_up(worker))
        elif (loss := self._silent.pop(worker, None)) is not None:  # silent because it died
            self._queue.blame(loss)

    def take(self, worker: str) -> Reply:
        """Ask for a part."""
        if self._is_stopping or self._queue.is_empty or worker in self._dismissed:
            return Reply(is_over=True)
        self._hear(worker)
        assignment = self._queue.take(worker)
        if assignment is None and self._is_spare(worker):
            self._dismiss(worker)
            return Reply(is_over=True)
        self._num_started += assignment is not None
        return Reply(assignment)

    def announce(self, worker: str, document: str) -> None:
        """A worker with a careful part begins a document; empty: it has ended the last one."""
        self._queue.announce(worker, document)

    def report(self, worker: str, report: WorkerReport) -> None:
        """Sign of life, the parts that a worker has, and their counts so far."""
        if worker in self._dismissed:
            return
        known = self._hear(worker)
        known.report = report
        for part in report.counts_by_part:
            self._queue.claim(worker, part)
        # A reply that was lost on its way, or a call that the network repeated.
        unknown = self._queue.held_by(worker) - report.counts_by_part.keys()
        for part in unknown & known.unknown_to_it:
            self._queue.give_back(worker, part)
        known.unknown_to_it = unknown

    def finish(self, worker: str, finished: FinishedPart) -> Reply:
        """Tell of a finished part and ask for the next one."""
        self._hear(worker).report.counts_by_part.pop(finished.part, None)
        is_news = self._queue.finish(finished.part)
        if is_news and finished.is_ours:
            self._finished.update(finished.counts)
        return self.take(worker)

    def leave(self, worker: str) -> bool:
        """A worker cannot go on; returns whether others can."""
        if worker in self._workers:
            self._give_up(worker)
        return bool(self._workers)

    def stop(self) -> None:
        """Hand out nothing more."""
        self._is_stopping = True

    def complain(self, trouble: str) -> None:
        """A worker could not begin; the driver tells people."""
        self._troubles.append(trouble)

    def news(self) -> News:
        """What the driver has to know."""
        troubles, self._troubles = self._troubles, []
        return News(self._figures(), troubles, self._queue.hopeless)

    def _figures(self) -> dict[str, int]:
        self._give_up_silent_workers()
        totals = Counter(self._finished)
        for worker in self._workers.values():
            for counts in worker.report.counts_by_part.values():
                totals.update(counts)
        restarts = sum(worker.report.num_engine_restarts for worker in self._workers.values())
        num_open = self._queue.num_waiting + self._queue.num_in_flight
        figures = {
            **totals,
            "parts_total": self._num_parts,
            "parts_done": self._num_parts - num_open,
            "parts_done_before": self._num_done_before,
            "parts_in_flight": self._queue.num_in_flight,
            "parts_started": self._num_started,
            "parts_taken_back": self._queue.num_taken_back,
            "workers": len(self._workers),
            "workers_lost": self._num_lost,
            "engine_restarts": restarts + self._num_restarts_of_gone,
        }
        self._gauges.show(figures)
        return figures

    def _hear(self, worker: str) -> _Worker:
        known = self._workers.setdefault(worker, _Worker(0.0))
        known.heard_s = time.monotonic()
        self._silent.pop(worker, None)
        return known

    def _give_up_silent_workers(self) -> None:
        silent_since_s = time.monotonic() - _SILENCE_S
        for name, worker in list(self._workers.items()):
            if worker.heard_s < silent_since_s:
                self._silent[name] = self._give_up(name)

    def _give_up(self, worker: str) -> Loss:
        self._forget(worker)
        self._num_lost += 1
        return self._queue.lost(worker)

    def _is_spare(self, worker: str) -> bool:
        """Whether it has nothing and others are enough for the last parts, should one die."""
        return len(self._workers) > self._min_workers and not self._queue.held_by(worker)

    def _dismiss(self, worker: str) -> None:
        """Send it home, so that others can have its accelerator."""
        self._forget(worker)
        self._dismissed.add(worker)

    def _forget(self, worker: str) -> None:
        self._num_restarts_of_gone += self._workers.pop(worker).report.num_engine_restarts


def find_todo(documents_folder: str, stage_folder: str) -> tuple[int, list[str]]:
    """Number of parts in all, and the names of those that are not committed, in order.

    Raises:
        InputError: the stage holds a part that its input does not have.
    """
    wanted = committed_names(documents_folder)
    committed = set(committed_names(stage_folder))
    todo = [part for part in wanted if part not in committed]
    if len(wanted) - len(todo) < len(committed):
        unknown = min(committed.difference(wanted))
        raise InputError(
            f"{stage_folder} holds part {unknown}, which {documents_folder} does not have; "
            f"remove {stage_folder}"
        )
    return len(wanted), todo


class _Gauges:
    """The figures as Prometheus metrics, which every Ray node exports on its metrics port."""

    def __init__(self) -> None:
        self._gauges: dict[str, Any] = {}

    def show(self, figures: Mapping[str, int]) -> None:
        import ray
        from ray.util.metrics import Gauge

        if not ray.is_initialized():
            return
        for name, value in figures.items():
            metric = f"ipt_synth_{name.replace('.', '_')}"
            if metric not in self._gauges:
                self._gauges[metric] = Gauge(metric, description=f"Synthesis: {name}, this start.")
            self._gauges[metric].set(value)
