"""The plan of a config: each budget of tokens through demand, rates and cluster."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from launch.config import PipelineConfig
from launch.planning.cluster import Cluster, require_known
from launch.planning.demand import Demand, Sizes, demand_of
from launch.planning.estimate import (
    HOUR_S,
    StageEstimate,
    estimate_filter,
    estimate_ingest,
    estimate_pack,
    estimate_synth,
)
from launch.planning.rates import Basis, RateReader, Rates
from launch.planning.training import estimate_train

_WEAKNESS: tuple[Basis, ...] = ("this run", "carried over", "assumed")
_LONG_S = 24 * HOUR_S


@dataclass(frozen=True)
class BudgetPlan:
    """What one budget of training tokens takes."""

    demand: Demand
    stages: Sequence[StageEstimate]
    price: float
    assumptions: Sequence[str]
    """Of the demand and of all stages, a sentence each."""
    notes: Sequence[str]

    @property
    def gpu_hours(self) -> float:
        """Of synthesis and training, for as long as each holds them."""
        return sum(stage.gpu_hours for stage in self.stages)

    @property
    def wall_s(self) -> float:
        """Seconds, stage after stage."""
        return sum(stage.wall_s for stage in self.stages)

    @property
    def cost(self) -> float:
        """GPU-hours at the price; stages without GPUs cost nothing here."""
        return self.gpu_hours * self.price

    @property
    def storage_bytes(self) -> float:
        """Of all folders of the run together."""
        return sum(self.demand.bytes_by_folder.values())

    @property
    def longest(self) -> StageEstimate:
        """The stage that takes most of the time."""
        return max(self.stages, key=lambda stage: stage.wall_s)


@dataclass(frozen=True)
class Plan:
    """All budgets of one config on one cluster."""

    name: str
    cluster: Cluster
    rates: Rates
    budgets: Sequence[BudgetPlan]


def make_plan(
    name: str,
    config: PipelineConfig,
    cluster: Cluster,
    rates: Rates,
    budgets: Sequence[float],
    sizes: Sizes,
    synthesizer_parameters: float | None = None,
) -> Plan:
    """Plan a config for each budget.

    Args:
        name: of the config, for people.
        config: the run.
        cluster: machines and prices.
        rates: the shipped table, or a run's over it.
        budgets: tokens to train on.
        sizes: what the user says of corpus and model.
        synthesizer_parameters: of the model that writes pairs, where its name does not say it.

    Raises:
        InputError: a device, a model or a size that cannot be planned with.
    """
    require_known(cluster.gpu, rates)
    plans = [
        _plan_budget(config, cluster, rates, tokens, sizes, synthesizer_parameters)
        for tokens in budgets
    ]
    return Plan(name, cluster, rates, plans)


def _plan_budget(
    config: PipelineConfig,
    cluster: Cluster,
    rates: Rates,
    tokens: float,
    sizes: Sizes,
    synthesizer_parameters: float | None,
) -> BudgetPlan:
    reader = RateReader(rates)
    demand = demand_of(config, tokens, rates, reader, sizes)
    stages = [
        estimate_ingest(demand, rates, cluster),
        estimate_synth(config, demand, rates, cluster, synthesizer_parameters),
        estimate_filter(demand, rates, cluster),
        estimate_pack(demand, rates, cluster),
        estimate_train(config, demand, rates, cluster),
    ]
    said = [*reader.assumptions, *(each for stage in stages for each in stage.assumptions)]
    return BudgetPlan(
        demand,
        # What is planned for a stage is no better known than the work that it is given.
        [replace(stage, basis=_weaker(stage.basis, reader.basis)) for stage in stages],
        cluster.price,
        list(dict.fromkeys(said)),
        [*(note for stage in stages for note in stage.notes), *_long_stages(stages)],
    )


def _weaker(one: Basis, other: Basis) -> Basis:
    return max(one, other, key=_WEAKNESS.index)


def _long_stages(stages: Sequence[StageEstimate]) -> list[str]:
    """What it means that a stage has one process, where that begins to hurt."""
    return [
        f"{stage.name}: one process, {stage.wall_s / _LONG_S:,.1f} days on any number of nodes; "
        f"hold no GPUs meanwhile, or cut the corpus into runs of their own"
        for stage in stages
        if stage.bottleneck == "its one process" and stage.wall_s > _LONG_S
    ]
