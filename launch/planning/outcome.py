"""What a simulation is given, and what comes of it."""

from dataclasses import dataclass, field

from pipeline.errors import InputError

JOURNAL_S = 10.0
"""Between two segments of a part's journal (`synth.journal`)."""


@dataclass(frozen=True)
class BoardCosts:
    """Seconds of the board's one process for each thing that it is asked."""

    event_s: float = 0.0
    """A call about a part: it is finished and the next one handed out."""
    report_s: float = 0.0
    """A worker's report, once a second."""
    news_s: float = 0.0
    """What the driver's question costs for each worker, once a second."""

    def load_of(self, num_workers: float) -> float:
        """Share of the board's time that reports and the driver's questions take."""
        return num_workers * (self.report_s + self.news_s)

    def saturation_workers(self, parts_per_s: float) -> float:
        """Workers at which the board has no time left.

        Args:
            parts_per_s: that one worker finishes.
        """
        of_a_worker = self.report_s + self.news_s + parts_per_s * self.event_s
        return 1 / of_a_worker if of_a_worker else float("inf")


@dataclass(frozen=True)
class Scenario:
    """A synthesis job on machines that may be taken away."""

    num_workers: int
    """Engines that the job wants."""
    num_parts: int
    part_s: float
    """Mean seconds that a whole engine works on a part."""
    spread: float = 0.3
    """Standard deviation of the logarithm of that."""
    width: int = 1
    """Parts that fill an engine together."""
    engine_start_s: float = 90.0
    """From a machine to an engine that takes requests."""
    workers_per_node: int = 1
    """Engines that go together."""
    preemptions_per_day: float = 0.0
    """Times a day that a node is reclaimed by itself."""
    replacement_s: float = 300.0
    """Mean wait for another node."""
    waves_per_day: float = 0.0
    """Times a day that a share of one zone is reclaimed at once."""
    wave_share: float = 0.5
    """That share."""
    num_zones: int = 3
    notice_s: float = 1.0
    """Until the driver knows of a worker whose death Ray reports."""
    silence_s: float = 30.0
    """Until the board gives up a worker that fell silent (`synth.board`)."""
    journal_s: float | None = None
    """With the journal, the most seconds of work that a kill costs; None: the parts in flight."""
    careful_slowdown: float = 64.0
    """How much longer a part takes that is written document by document, as it is suspect."""
    min_workers: int = 1
    """Workers that stay to the end."""
    board: BoardCosts = field(default_factory=BoardCosts)
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated.

        Raises:
            InputError: names the value, the rule and what to give.
        """
        for name in ("num_workers", "num_parts", "part_s", "width", "workers_per_node"):
            value = getattr(self, name)
            if not value > 0:
                raise InputError(f"simulation: {name} ({value}) must be above 0; give another")

    @property
    def parts_in_flight(self) -> int:
        """Parts of a worker: those that fill its engine, and one more (`synth.pool`)."""
        return self.width + 1

    @property
    def num_nodes(self) -> int:
        """Machines that hold the workers."""
        return -(-self.num_workers // self.workers_per_node)

    def slots_of(self, node: int) -> range:
        """Numbers of the workers of a machine."""
        first = node * self.workers_per_node
        return range(first, min(first + self.workers_per_node, self.num_workers))


@dataclass
class Outcome:
    """What became of a simulated job; seconds are of engines, added up, unless said otherwise."""

    scenario: Scenario
    finish_s: float = 0.0
    """When the last part was committed, on the clock."""
    paid_s: float = 0.0
    """From when a worker has its machine until it is gone, all lives together."""
    useful_s: float = 0.0
    """Work on parts that counted."""
    lost_s: float = 0.0
    """Work that was thrown away."""
    starting_s: float = 0.0
    """Engines on their way up."""
    num_finished: int = 0
    num_preempted: int = 0
    """Workers that were lost."""
    num_waves: int = 0
    parts_at_risk: int = 0
    """Parts that lost workers held, one counted as often as it was lost."""
    parts_begun_again: int = 0
    """Those of them that were begun."""
    parts_careful: int = 0
    """Times a part was written document by document, as workers had died of it."""
    hopeless_part: str = ""
    """A part that the real job would have given up for; empty: none."""
    board_busy_s: float = 0.0
    """The board's work on calls about parts."""
    board_peak_load: float = 0.0
    """Largest share of its time that reports and questions took."""

    @property
    def goodput(self) -> float:
        """Share of the paid time that went into parts that counted, 0..1."""
        return self.useful_s / self.paid_s

    @property
    def redone_share(self) -> float:
        """Share of all work that was thrown away, 0..1."""
        return self.lost_s / (self.useful_s + self.lost_s)

    @property
    def starting_share(self) -> float:
        """Share of the paid time in which engines were on their way up."""
        return self.starting_s / self.paid_s

    @property
    def idle_share(self) -> float:
        """Share of the paid time in which engines were up and had nothing to do, or too little."""
        return max(0.0, 1 - (self.useful_s + self.lost_s + self.starting_s) / self.paid_s)

    @property
    def board_load(self) -> float:
        """Mean share of the board's time that was asked of it; above 1 it could not keep up."""
        running = max(0.0, self.paid_s - self.starting_s) / self.finish_s
        return self.board_busy_s / self.finish_s + self.scenario.board.load_of(running)

    @property
    def saturation_workers(self) -> float:
        """Workers with parts of this size at which the board would be busy all the time."""
        return self.scenario.board.saturation_workers(1 / self.scenario.part_s)
