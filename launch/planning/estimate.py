"""From work and rates to what each stage takes: GPU-hours, wall time, and what holds it up.

Each stage has limits, the seconds that it would take if nothing else were in its way; the longest
is its bottleneck. Stages follow one another, as in `ipt run`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from launch.config import PipelineConfig
from launch.planning.cluster import CPU, Cluster
from launch.planning.demand import Demand
from launch.planning.outcome import JOURNAL_S, BoardCosts, Outcome, Scenario
from launch.planning.rates import Basis, RateReader, Rates
from launch.planning.shape import known_parameters
from launch.planning.simulation import simulate
from pipeline.errors import InputError
from synth.slots import chains_at_once

HOUR_S = 3600.0
_MOST_PARTS, _PARTS_OF_AN_ENGINE = 20_000, 100
"""Parts that are simulated. The end, where engines idle, comes once however many there are: of 100
parts an engine it is a hundredth or two."""
_MAX_PARTS_IN_FLIGHT = 64
_MOST_BOARD_LOAD = 0.95


@dataclass(frozen=True)
class StageEstimate:
    """What one stage takes."""

    name: str
    wall_s: float
    """Seconds from its start to its end."""
    limits_s: Mapping[str, float]
    """Seconds by what might hold it up."""
    basis: Basis
    assumptions: Sequence[str]
    """What is taken for true and was not measured."""
    gpu_hours: float = 0.0
    cpu_hours: float = 0.0
    """Of cores that work, in stages without GPUs."""
    notes: Sequence[str] = ()
    outcome: Outcome | None = None
    """Synthesis: the simulation that the wall time is from."""

    @property
    def bottleneck(self) -> str:
        """What holds it up most."""
        return max(self.limits_s, key=lambda name: self.limits_s[name])


def stage_estimate(
    name: str, reader: RateReader, wall_s: float, limits_s: Mapping[str, float], **more: object
) -> StageEstimate:
    """An estimate, with what it rests on as the reader has noted it."""
    return StageEstimate(
        name,
        wall_s,
        limits_s,
        reader.basis,
        reader.assumptions,
        **more,  # type: ignore[arg-type]
    )


def counts_storage(rates: Rates, cluster: Cluster) -> bool:
    """Whether storage is a limit of its own; on one machine a run's rates have it in them."""
    return rates.origin == "shipped" or cluster.num_nodes > 1


def estimate_ingest(demand: Demand, rates: Rates, cluster: Cluster) -> StageEstimate:
    """One process, whatever the cluster."""
    reader = RateReader(rates)
    work_s = demand.text_tokens / reader("ingest.tokens_per_s")
    limits_s = {"its one process": work_s}
    if counts_storage(rates, cluster):
        read = demand.text_tokens * reader("text.bytes_per_token")
        moved = read + demand.bytes_by_folder["documents"]
        limits_s["storage"] = moved / reader("storage.bytes_per_s")
    wall_s = reader("ingest.start_s") + max(limits_s.values())
    hours = work_s / HOUR_S
    return stage_estimate("ingest", reader, wall_s, limits_s, cpu_hours=hours)


def estimate_filter(demand: Demand, rates: Rates, cluster: Cluster) -> StageEstimate:
    """One process, whatever the cluster."""
    reader = RateReader(rates)
    work_s = demand.pairs / reader("filter.pairs_per_s")
    limits_s = {"its one process": work_s}
    if counts_storage(rates, cluster):
        moved = demand.bytes_by_folder["augmented"] + demand.bytes_by_folder["filtered"]
        limits_s["storage"] = moved / reader("storage.bytes_per_s")
    wall_s = reader("filter.start_s") + max(limits_s.values())
    hours = work_s / HOUR_S
    return stage_estimate("filter", reader, wall_s, limits_s, cpu_hours=hours)


def estimate_pack(demand: Demand, rates: Rates, cluster: Cluster) -> StageEstimate:
    """All cores of all nodes, a part each."""
    reader = RateReader(rates)
    work_s = demand.packed_tokens / reader("pack.tokens_per_s")
    cores = max(1.0, min(reader("node.cores") * cluster.num_nodes, 2 * demand.parts))
    limits_s = {"tokenizing on CPUs": work_s / cores}
    if counts_storage(rates, cluster):
        moved = sum(demand.bytes_by_folder[name] for name in ("documents", "filtered", "rows"))
        limits_s["storage"] = moved / reader("storage.bytes_per_s")
    wall_s = reader("pack.start_s") + max(limits_s.values())
    return stage_estimate("pack", reader, wall_s, limits_s, cpu_hours=work_s / HOUR_S)


def estimate_synth(
    config: PipelineConfig,
    demand: Demand,
    rates: Rates,
    cluster: Cluster,
    synthesizer_parameters: float | None = None,
) -> StageEstimate:
    """Engines, or for mined pairs cores, as the simulation has them come and go.

    Raises:
        InputError: an engine does not fit on a node, or nothing says how large its model is.
    """
    reader = RateReader(rates)
    if not demand.converted:
        return stage_estimate("synth", reader, 0.0, {"nothing to convert": 0.0})
    mines = config.synth.protocol == "rules"
    if mines:
        engines, work_s = _mining(demand, cluster, reader)
    else:
        rate = _engine_rate(config, rates, reader, synthesizer_parameters)
        engines = _num_engines(config, cluster)
        work_s = demand.output_tokens / rate
    scenario, share = _scenario(config, demand, cluster, reader, engines, work_s)
    outcome = simulate(scenario)
    engines = scenario.num_workers
    # A part of the job stands for the whole of it, but for the start, which comes once.
    start_s = scenario.engine_start_s
    wall_s = start_s + (outcome.finish_s - start_s) / share
    first_s = start_s * engines
    paid_s = first_s + (outcome.paid_s - first_s) / share
    limits_s = {
        "tokenizing on CPUs" if mines else "engines": work_s / engines,
        "the board's process": demand.parts * scenario.board.event_s,
    }
    if not mines:
        beside_s = demand.converted * reader("synth.cpu_s_per_document")
        limits_s["the core beside each engine"] = beside_s / engines
    if counts_storage(rates, cluster):
        # Documents that are not converted are read all the same: they lie in the same parts.
        moved = demand.bytes_by_folder["documents"] + demand.bytes_by_folder["augmented"]
        limits_s["storage"] = moved / reader("storage.bytes_per_s")
    if outcome.hopeless_part:
        wall_s = paid_s = float("inf")
    others_s = start_s + max(limits_s.values())
    gpus = 0 if mines or cluster.gpu == CPU else config.synth.engine.num_accelerators
    return stage_estimate(
        "synth",
        reader,
        max(wall_s, others_s),
        limits_s,
        gpu_hours=gpus * max(paid_s, engines * others_s) / HOUR_S,
        cpu_hours=0.0 if gpus else paid_s / HOUR_S,
        outcome=outcome,
        notes=_notes(demand, cluster, outcome),
    )


def _mining(demand: Demand, cluster: Cluster, reader: RateReader) -> tuple[int, float]:
    """Workers, and seconds of one of them."""
    text_tokens = demand.converted * demand.document_tokens
    text_bytes = text_tokens * reader("text.bytes_per_token")
    workers = max(1, int(reader("node.cores")) * cluster.num_nodes)
    return workers, text_bytes / reader("synth.rules_bytes_per_s")


def _num_engines(config: PipelineConfig, cluster: Cluster) -> int:
    engine, workers = config.synth.engine, config.synth.workers
    fitting = 1 if cluster.gpu == CPU else cluster.gpus_per_node // engine.num_accelerators
    if not fitting:
        raise InputError(
            f"synth.engine: tensor_parallel_size x pipeline_parallel_size "
            f"({engine.num_accelerators}) must not exceed --gpus-per-node "
            f"({cluster.gpus_per_node}), as an engine is on one node; lower it"
        )
    engines = fitting * cluster.num_nodes
    return min(engines, workers.max) if workers.max is not None else engines


def _engine_rate(
    config: PipelineConfig, rates: Rates, reader: RateReader, parameters: float | None
) -> float:
    """Output tokens a second of one engine."""
    if reader.has("synth.engine_tokens_per_s"):
        return reader("synth.engine_tokens_per_s")
    model = config.synth.model
    count = parameters or known_parameters(model, rates)
    if count is None:
        raise InputError(
            f"synth.model ({model}): neither a folder with config.json nor a name that says the "
            f"model's size; give --synthesizer-parameters, such as 7B"
        )
    small = reader.rate("synth.small_model_tokens_per_s")
    large = reader.rate("synth.large_model_tokens_per_s")
    reader.assume(
        "between the two published models the rate of an engine falls as a power of its size, "
        "beyond the larger one in proportion; every card of the list is as fast"
    )
    span = math.log(large.value / small.value) / math.log(large.parameters / small.parameters)
    if count <= large.parameters:
        rate = small.value * (max(count, small.parameters) / small.parameters) ** span
    else:
        rate = large.value * large.parameters / count
    num_accelerators = config.synth.engine.num_accelerators
    if num_accelerators > 1:
        reader.assume(f"an engine on {num_accelerators} GPUs is {num_accelerators} times as fast")
    return float(rate * num_accelerators * reader("synth.over_bare_engine"))


def _scenario(
    config: PipelineConfig,
    demand: Demand,
    cluster: Cluster,
    reader: RateReader,
    engines: int,
    work_s: float,
) -> tuple[Scenario, float]:
    """What is simulated, and which share of the parts that is."""
    board = BoardCosts()
    if engines > 1:  # one worker keeps nobody busy
        board = BoardCosts(*map(reader, ("board.event_s", "board.report_s", "board.news_s")))
        of_a_worker = board.load_of(1)
        engines = min(engines, max(1, int(_MOST_BOARD_LOAD / of_a_worker)))
    parts = max(1, round(demand.parts))
    engines = min(engines, parts)
    simulated = min(parts, max(_MOST_PARTS, _PARTS_OF_AN_ENGINE * engines))
    workers = config.synth.workers
    width = 1
    if config.synth.protocol != "rules":
        chains_per_part = max(1.0, demand.converted / parts / config.synth.shots_per_chain)
        filling = math.ceil(chains_at_once(config.synth.engine.max_num_seqs) / chains_per_part)
        in_flight = workers.parts_in_flight or min(filling + 1, _MAX_PARTS_IN_FLIGHT)
        # The rate of a run on one engine has in it how that engine fills and drains.
        is_in_the_rate = engines == 1 and reader.has("synth.engine_tokens_per_s")
        width = 1 if is_in_the_rate else max(1, in_flight - 1)
    faults = {}
    if cluster.preemptions_per_day:
        faults = {
            "preemptions_per_day": cluster.preemptions_per_day,
            "replacement_s": reader("faults.replacement_s"),
            "careful_slowdown": reader("synth.careful_slowdown"),
        }
    scenario = Scenario(
        num_workers=engines,
        num_parts=simulated,
        part_s=work_s / parts,
        width=min(width, max(1, simulated // engines)),
        engine_start_s=reader("synth.start_s"),
        workers_per_node=max(1, math.ceil(engines / cluster.num_nodes)),
        journal_s=JOURNAL_S if config.synth.journal else None,
        min_workers=workers.min,
        board=board,
        **faults,  # type: ignore[arg-type]
    )
    return scenario, simulated / parts


def _notes(demand: Demand, cluster: Cluster, outcome: Outcome) -> list[str]:
    notes, scenario = [], outcome.scenario
    if scenario.num_workers < cluster.num_gpus and scenario.num_workers >= demand.parts:
        notes.append(
            f"synth: {demand.parts:,.0f} parts keep no more than {scenario.num_workers:,} engines "
            f"busy; a lower ingest.docs_per_part makes more of them"
        )
    if outcome.hopeless_part:
        notes.append(
            f"synth: preempted {cluster.preemptions_per_day:g} times a day a node, parts of "
            f"{scenario.part_s / 60:,.0f} minutes are lost so often that the job takes them for "
            f"the cause and ends; a lower ingest.docs_per_part makes shorter ones"
        )
    elif outcome.parts_careful:
        notes.append(
            f"synth: {outcome.parts_careful:,} parts are lost so often that they are written "
            f"document by document; a lower ingest.docs_per_part makes shorter ones"
        )
    return notes
