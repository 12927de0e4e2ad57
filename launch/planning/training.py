"""What training takes: compute, gradients over the network, checkpoints, restarts.

    step = rows of a rank * FLOPs a row / speed  +  bytes of ZeRO's stage / network

The two follow one another, as `overlap_comm` is off (`train.deepspeed_config`). Of a rank's ring,
each byte of a tensor goes (n - 1) / n times over the network for a gather or a scatter:

    stage      gradients, fp32                    weights, bf16
    0          reduced and gathered, a step       -
    1          scattered, a step                  gathered, a step
    2          scattered, a micro-batch           gathered, a step
    3          scattered, a micro-batch           gathered twice a micro-batch
"""

import math
from dataclasses import dataclass

from launch.config import PipelineConfig
from launch.planning.cluster import CPU, Cluster, peak_of
from launch.planning.demand import Demand
from launch.planning.estimate import HOUR_S, StageEstimate, counts_storage, stage_estimate
from launch.planning.rates import RateReader, Rates
from pipeline.progress import short_number

_GRADIENT_BYTES, _WEIGHT_BYTES = 4, 2
_DAY_S = 86_400.0
_MOST_EXPONENT = 50.0
_NEARLY_ALL = 0.98
_WORTH_A_NOTE = 0.05


@dataclass(frozen=True)
class _Step:
    compute_s: float
    network_s: float
    padding_share: float
    """Of the rows that a step takes through the model."""

    @property
    def wall_s(self) -> float:
        return self.compute_s + self.network_s


def estimate_train(
    config: PipelineConfig, demand: Demand, rates: Rates, cluster: Cluster
) -> StageEstimate:
    """Training on as many of the nodes as make it fastest: more may wait for the network alone."""
    reader = RateReader(rates)
    speed = _rank_speed(config, demand, rates, cluster, reader)
    steps = {
        nodes: _step(config, demand, cluster, reader, speed, nodes)
        for nodes in _candidates(cluster.num_nodes)
    }
    nodes = min(steps, key=lambda nodes: (steps[nodes].wall_s, nodes))
    step, ranks = steps[nodes], _num_ranks(config, cluster, nodes)
    limits_s = {"compute": demand.steps * step.compute_s}
    if step.network_s:
        limits_s["network"] = demand.steps * step.network_s
    stalls_s = 0.0
    if counts_storage(rates, cluster):
        state = demand.model.parameters * reader("train.checkpoint_bytes_per_parameter")
        saves = math.ceil(demand.steps / config.train.checkpoint_every)
        stalls_s = saves * state / ranks / reader("train.checkpoint_copy_bytes_per_s")
        moved = saves * state + demand.train_tokens * reader("text.row_bytes_per_token")
        limits_s["storage"] = moved / reader("storage.bytes_per_s")
        loader = reader("train.loader_tokens_per_s")
        limits_s["loader"] = demand.train_tokens / ranks / loader
    work_s = max(demand.steps * step.wall_s + stalls_s, *limits_s.values())
    start_s = reader("train.start_s")
    wall_s = start_s + work_s
    notes = _notes(demand, cluster, step, nodes)
    if cluster.preemptions_per_day:
        wall_s, said = _with_restarts(config, demand, cluster, reader, nodes, work_s)
        notes += said
    gpus = 0 if cluster.gpu == CPU else ranks
    return stage_estimate(
        "train",
        reader,
        wall_s,
        limits_s,
        gpu_hours=gpus * wall_s / HOUR_S,
        cpu_hours=0.0 if gpus else ranks * wall_s / HOUR_S,
        notes=notes,
    )


def _candidates(num_nodes: int) -> list[int]:
    """Numbers of nodes to try: all up to 64, then ever fewer, the whole among them."""
    few = list(range(1, min(num_nodes, 64) + 1))
    return sorted({*few, *(num_nodes >> shift for shift in range(8) if num_nodes >> shift)})


def _num_ranks(config: PipelineConfig, cluster: Cluster, nodes: int) -> int:
    of_a_node = config.train.num_ranks if cluster.gpu == CPU else cluster.gpus_per_node
    return nodes * of_a_node


def _rank_speed(
    config: PipelineConfig, demand: Demand, rates: Rates, cluster: Cluster, reader: RateReader
) -> float:
    """FLOPs a second of one rank."""
    if reader.has("train.rank_flops_per_s"):
        return reader("train.rank_flops_per_s")
    mfu = reader("train.compiled_mfu" if config.train.compile else "train.mfu")
    is_as_measured = (
        cluster.gpu == "h100"
        and cluster.num_gpus == 1
        and config.train.model.preset == "mistral-500m"
        and demand.seq_len == 2048
        and config.train.precision == "bf16"
    )
    if not is_as_measured:
        reader.assume(
            f"the model computes at {mfu:.1%} MFU, which was measured of the 500M model on one "
            f"H100 at 2,048 tokens a row; of {demand.model.parameters / 1e9:.2g}B parameters on "
            f"{cluster.num_gpus:,} x {cluster.gpu.upper()} it was not"
        )
    return mfu * peak_of(cluster.gpu, rates, config.train)


def _step(
    config: PipelineConfig,
    demand: Demand,
    cluster: Cluster,
    reader: RateReader,
    speed: float,
    nodes: int,
) -> _Step:
    train, ranks = config.train, _num_ranks(config, cluster, nodes)
    accumulation = train.accumulation_steps(ranks)
    rows = accumulation * train.micro_rows
    row_flops = demand.model.flops.of(demand.seq_len, demand.seq_len * (demand.seq_len + 1) / 2)
    compute_s = rows * row_flops / speed
    padding = 1 - train.rows_per_batch / (rows * ranks)
    is_in_the_rate = reader.has("train.rank_flops_per_s") and nodes == 1
    if ranks == 1 or is_in_the_rate:
        return _Step(compute_s, 0.0, padding)
    wire = "train.network_bytes_per_s" if nodes > 1 else "train.link_bytes_per_s"
    moved = _bytes_of_a_step(train.zero_stage, demand.model.parameters, accumulation)
    return _Step(compute_s, moved * (ranks - 1) / ranks / reader(wire), padding)


def _bytes_of_a_step(zero_stage: int, parameters: float, accumulation: int) -> float:
    gradients, weights = _GRADIENT_BYTES * parameters, _WEIGHT_BYTES * parameters
    if zero_stage == 0:
        return 2 * gradients
    if zero_stage == 1:
        return gradients + weights
    if zero_stage == 2:
        return accumulation * gradients + weights
    return accumulation * (gradients + 2 * weights)


def _with_restarts(
    config: PipelineConfig,
    demand: Demand,
    cluster: Cluster,
    reader: RateReader,
    nodes: int,
    work_s: float,
) -> tuple[float, list[str]]:
    """Wall time where each reclaimed node ends the run, which goes on from its last checkpoint.

    With a node lost every 1 / rate seconds, as a Poisson process, and R seconds to begin again,
    work of T seconds between two checkpoints takes (exp(rate * T) - 1) * (1 / rate + R) in the mean
    (Daly 2006, section 3).
    """
    rate = cluster.preemptions_per_day * nodes / _DAY_S
    again_s = reader("train.start_s") + reader("faults.replacement_s")
    saves = max(1.0, demand.steps / config.train.checkpoint_every)
    between_s = work_s / saves
    exponent = rate * between_s
    if exponent > _MOST_EXPONENT:
        return float("inf"), [
            f"train: a node goes every {1 / rate / 60:,.1f} minutes and a checkpoint comes every "
            f"{between_s / 60:,.1f}: it would not end; lower train.checkpoint_every"
        ]
    wall_s = reader("train.start_s") + saves * math.expm1(exponent) * (1 / rate + again_s)
    return wall_s, [
        f"train: {rate * wall_s:,.1f} restarts, goodput {work_s / wall_s:.1%} with a checkpoint "
        f"every {between_s / 60:,.1f} minutes"
    ]


def _notes(demand: Demand, cluster: Cluster, step: _Step, nodes: int) -> list[str]:
    notes = []
    if nodes < cluster.num_nodes:
        notes.append(
            f"train: fastest on {nodes:,} of the {cluster.num_nodes:,} nodes, by batch size and "
            f"network; GPU-hours are those of the {nodes:,}"
        )
    if step.padding_share > _WORTH_A_NOTE:
        notes.append(
            f"train: {step.padding_share:.0%} of the rows of a step are padding, as "
            f"train.rows_per_batch ({demand.step_rows}) does not fill ranks x micro_rows"
        )
    if demand.packed_tokens < demand.train_tokens * _NEARLY_ALL:
        notes.append(
            f"train: the documents give {short_number(demand.packed_tokens)} tokens, which it goes "
            f"through {demand.train_tokens / demand.packed_tokens:,.1f} times"
        )
    return notes
