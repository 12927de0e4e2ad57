"""Synthesis on many workers that come and go: a discrete-event simulation around the real queue.

    heap of events    engine ready ─▶ take ─▶ part ends ─▶ told ─▶ take ...
                                                │            │
                      node reclaimed ───────────┘        board: one server, measured costs
                         └─ noticed ─▶ PartQueue.lost, blame ─▶ parts go to others

Which worker gets which part, what is taken back and what counts as suspect is decided by
`synth.part_queue.PartQueue` itself. Around it stand an engine (so many parts at a time, the others
behind them), nodes that are reclaimed alone or in waves and replaced later, and a board that
answers one call after the other. Times are seconds of the simulated job.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from launch.planning.outcome import JOURNAL_S, Outcome, Scenario
from synth.part_queue import Assignment, PartQueue

_DAY_S = 86_400.0
_ASK_AGAIN_S = 5.0
_FULL = 0.99


@dataclass
class _Service:
    """A part that an engine is writing."""

    began_s: float
    cost_s: float
    """Engine-seconds that are still to be done."""
    takes_s: float
    is_careful: bool


@dataclass
class _Worker:
    """One life of one engine."""

    name: str
    slot: int
    paid_from_s: float
    is_running: bool = False
    is_gone: bool = False
    serving: dict[str, _Service] = field(default_factory=dict)
    behind: deque[Assignment] = field(default_factory=deque)
    """Parts that it holds and has not begun."""
    num_told: int = 0
    """Parts that are written and that the board has not heard of."""


def simulate(scenario: Scenario) -> Outcome:
    """Run a scenario to its end.

    The same scenario gives the same outcome, by its seed.

    Returns:
        What became of it; `hopeless_part` is set where the real job would have given up.
    """
    return _Job(scenario).run()


class _Job:
    def __init__(self, scenario: Scenario) -> None:
        self._scenario, self._random = scenario, random.Random(scenario.seed)
        names = [f"s/part-{number:08d}" for number in range(scenario.num_parts)]
        self._costs = dict(zip(names, self._draw_costs(), strict=True))
        self._left = dict(self._costs)
        self._queue = PartQueue(names)
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._now_s = self._board_free_s = 0.0
        self._lives = [0] * scenario.num_workers
        self._workers: dict[int, _Worker] = {}
        self._dismissed: set[int] = set()
        self._num_running = 0
        self._outcome = Outcome(scenario)

    def run(self) -> Outcome:
        for slot in range(self._scenario.num_workers):
            self._begin_worker(slot)
        for node in range(self._scenario.num_nodes):
            self._schedule_reclaim(node)
        self._schedule_wave()
        while not self._queue.is_empty and not self._outcome.hopeless_part:
            self._now_s, _, happen = heapq.heappop(self._heap)
            happen()
        for worker in self._workers.values():
            self._pay(worker)
        self._outcome.finish_s = self._now_s
        return self._outcome

    def _at(self, delay_s: float, happen: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._heap, (self._now_s + delay_s, self._number, happen))

    def _draw_costs(self) -> list[float]:
        """Engine-seconds of each part: log-normal, and all together what they are said to be."""
        sigma, count = self._scenario.spread, self._scenario.num_parts
        drawn = [math.exp(self._random.gauss(0, sigma)) for _ in range(count)]
        scale = self._scenario.part_s * count / sum(drawn)
        return [scale * each for each in drawn]

    def _begin_worker(self, slot: int) -> None:
        if slot in self._dismissed:
            return
        self._lives[slot] += 1
        worker = _Worker(f"{slot}.{self._lives[slot]}", slot, self._now_s)
        self._workers[slot] = worker
        self._at(self._scenario.engine_start_s, partial(self._engine_ready, worker))

    def _engine_ready(self, worker: _Worker) -> None:
        if worker.is_gone:
            return
        worker.is_running = True
        self._num_running += 1
        self._outcome.starting_s += self._scenario.engine_start_s
        lanes = self._scenario.parts_in_flight
        self._at(self._board_delay(lanes), partial(self._take, worker))

    def _take(self, worker: _Worker) -> None:
        """Fill the lanes; one with nothing, while others stay, goes home."""
        if worker.is_gone:
            return
        while len(worker.serving) + len(worker.behind) < self._scenario.parts_in_flight:
            assignment = self._queue.take(worker.name)
            if assignment is None:
                break
            worker.behind.append(assignment)
        self._serve(worker)
        if worker.serving or worker.num_told:
            return
        if self._num_running > self._scenario.min_workers:
            self._dismissed.add(worker.slot)
            self._leave(worker)
        else:
            self._at(_ASK_AGAIN_S, partial(self._take, worker))

    def _serve(self, worker: _Worker) -> None:
        """The oldest parts are in the engine, as many as fill it; the others wait."""
        while worker.behind and len(worker.serving) < self._scenario.width:
            assignment = worker.behind.popleft()
            part, cost_s = assignment.part, self._left[assignment.part]
            scale = float(self._scenario.width)
            if assignment.is_careful:
                scale = self._scenario.careful_slowdown
                self._outcome.parts_careful += 1
            service = _Service(self._now_s, cost_s, cost_s * scale, assignment.is_careful)
            worker.serving[part] = service
            self._at(service.takes_s, partial(self._end, worker, part))

    def _end(self, worker: _Worker, part: str) -> None:
        if worker.is_gone:
            return
        del worker.serving[part]
        worker.num_told += 1
        self._serve(worker)
        self._at(self._board_delay(1), partial(self._told, worker, part))

    def _told(self, worker: _Worker, part: str) -> None:
        """The board hears of a committed part, though the worker may be gone by now."""
        if self._queue.finish(part):
            self._outcome.num_finished += 1
            self._outcome.useful_s += self._costs[part]
        worker.num_told -= 1
        self._take(worker)

    def _schedule_reclaim(self, node: int) -> None:
        rate = self._scenario.preemptions_per_day / _DAY_S
        if rate:
            self._at(self._random.expovariate(rate), partial(self._reclaim_alone, node))

    def _schedule_wave(self) -> None:
        rate = self._scenario.waves_per_day / _DAY_S
        if rate:
            self._at(self._random.expovariate(rate), self._wave)

    def _reclaim_alone(self, node: int) -> None:
        self._reclaim(node, self._scenario.notice_s)
        self._schedule_reclaim(node)

    def _wave(self) -> None:
        """A share of one zone goes at once, too fast for anybody to say good-bye."""
        zone = self._random.randrange(self._scenario.num_zones)
        for node in range(zone, self._scenario.num_nodes, self._scenario.num_zones):
            if self._random.random() < self._scenario.wave_share:
                self._reclaim(node, self._scenario.silence_s)
        self._outcome.num_waves += 1
        self._schedule_wave()

    def _reclaim(self, node: int, noticed_after_s: float) -> None:
        """All workers of a node are gone; others begin where they were, once a node is found."""
        waits_s = self._random.expovariate(1 / self._scenario.replacement_s)
        for slot in self._scenario.slots_of(node):
            worker = self._workers[slot]
            if worker.is_gone:
                continue
            self._lose_work(worker)
            self._leave(worker)
            self._at(noticed_after_s, partial(self._notice, worker))
            self._at(noticed_after_s + waits_s, partial(self._begin_worker, slot))

    def _lose_work(self, worker: _Worker) -> None:
        self._outcome.num_preempted += 1
        held = self._queue.held_by(worker.name)
        self._outcome.parts_at_risk += len(held)
        for part, service in worker.serving.items():
            share = (self._now_s - service.began_s) / service.takes_s
            done_s, kept_s = share * service.cost_s, 0.0
            journal_s = self._scenario.journal_s
            if service.is_careful:  # it has a journal in any case, and goes on at another document
                self._queue.announce(worker.name, f"{part} at {self._now_s}")
                journal_s = JOURNAL_S
            if journal_s is not None:
                unwritten = self._random.uniform(0, journal_s) / service.takes_s
                kept_s = max(0.0, share - unwritten) * service.cost_s
            self._left[part] = service.cost_s - kept_s
            self._outcome.lost_s += done_s - kept_s
            self._outcome.parts_begun_again += 1

    def _notice(self, worker: _Worker) -> None:
        loss = self._queue.lost(worker.name)
        self._queue.blame(loss)
        self._outcome.hopeless_part = self._queue.hopeless

    def _leave(self, worker: _Worker) -> None:
        self._pay(worker)
        if not worker.is_running:
            self._outcome.starting_s += self._now_s - worker.paid_from_s
        self._num_running -= worker.is_running
        worker.is_gone = True

    def _pay(self, worker: _Worker) -> None:
        if not worker.is_gone:
            self._outcome.paid_s += self._now_s - worker.paid_from_s

    def _board_delay(self, num_calls: int) -> float:
        """Seconds until the board has answered some calls, behind those that came before."""
        costs = self._scenario.board
        background = costs.load_of(self._num_running)
        self._outcome.board_peak_load = max(self._outcome.board_peak_load, background)
        work_s = num_calls * costs.event_s
        self._outcome.board_busy_s += work_s
        begins_s = max(self._now_s, self._board_free_s)
        self._board_free_s = begins_s + work_s / (1 - min(background, _FULL))
        return self._board_free_s - self._now_s
