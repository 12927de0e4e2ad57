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
from synth.part_queue import Assignment, PartQueue

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
    """Counts so far of the parts that it is writing."""
    num_engine_restarts: int = 0


@dataclass(frozen=True)
class FinishedPart:
    """A part that is committed, and the counts of it."""

    part: str
    counts: Mapping[str, int]
    is_ours: bool
    """Whether this worker's files count; False: another was faster."""


@dataclass
class _Worker:
    actor: str
    heard_s: float
    report: WorkerReport = field(default_factory=lambda: WorkerReport({}))


class JobBoard:
    """Hands out parts and sums up; all times are `time.monotonic` of its own process."""

    def __init__(self, documents_folder: str, stage_folder: str) -> None:
        """Look what is committed; no sidecar is opened.

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
        self._finished: Counter[str] = Counter()
        self._num_started = self._num_lost = self._num_restarts_of_lost = 0
        self._is_stopping = False
        self._gauges = _Gauges()

    def register(self, worker: str, actor: str) -> None:
        """A worker begins; what an earlier life of the same Ray actor had is free again."""
        for name in [name for name, known in self._workers.items() if known.actor == actor]:
            self._give_up(name, is_dead=True)
        self._workers[worker] = _Worker(actor, time.monotonic())

    def take(self, worker: str) -> Reply:
        """Ask for a part."""
        self._hear(worker)
        if self._is_stopping or self._queue.is_empty:
            return Reply(is_over=True)
        assignment = self._queue.take(worker)
        self._num_started += assignment is not None
        return Reply(assignment)

    def announce(self, worker: str, document: str) -> None:
        """A worker with a careful part begins a document."""
        self._hear(worker)
        self._queue.announce(worker, document)

    def report(self, worker: str, report: WorkerReport) -> None:
        """Sign of life, and the counts so far."""
        self._hear(worker)
        self._workers[worker].report = report
        for part in report.counts_by_part:
            self._queue.claim(worker, part)

    def finish(self, worker: str, finished: FinishedPart) -> Reply:
        """Tell of a finished part and ask for the next one."""
        self._hear(worker)
        self._workers[worker].report.counts_by_part.pop(finished.part, None)
        self._queue.finish(finished.part)
        if finished.is_ours:
            self._finished.update(finished.counts)
        return self.take(worker)

    def leave(self, worker: str) -> None:
        """A worker ends in order."""
        self._workers.pop(worker, None)
        self._queue.lost(worker, is_dead=False)

    def stop(self) -> None:
        """Hand out nothing more."""
        self._is_stopping = True

    def figures(self) -> dict[str, int]:
        """How the job stands, counted since this start unless it says otherwise."""
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
            "engine_restarts": restarts + self._num_restarts_of_lost,
        }
        self._gauges.show(figures)
        return figures

    def _hear(self, worker: str) -> None:
        if worker not in self._workers:  # given up too early, or the board itself is a new one
            self._workers[worker] = _Worker("", 0.0)
        self._workers[worker].heard_s = time.monotonic()

    def _give_up_silent_workers(self) -> None:
        silent_since_s = time.monotonic() - _SILENCE_S
        for name, worker in list(self._workers.items()):
            if worker.heard_s < silent_since_s:
                self._give_up(name, is_dead=False)

    def _give_up(self, worker: str, *, is_dead: bool) -> None:
        gone = self._workers.pop(worker)
        self._num_restarts_of_lost += gone.report.num_engine_restarts
        self._num_lost += 1
        self._queue.lost(worker, is_dead=is_dead)


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
