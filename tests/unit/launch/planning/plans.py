"""Configs and plans that the tests of planning share."""

from typing import Any

from launch.config import PipelineConfig
from launch.planning.cluster import Cluster
from launch.planning.demand import Sizes
from launch.planning.plan import BudgetPlan, make_plan
from launch.planning.rates import load_rates
from launch.references import invocation_of

PRESETS = ("scratch-500m", "scratch-1.3b", "continual-8b", "quickstart")


def config_of(preset: str, *overrides: str) -> PipelineConfig:
    return invocation_of(preset, list(overrides)).config


def planned(
    preset: str = "scratch-500m",
    tokens: float = 1e10,
    *overrides: str,
    sizes: Sizes | None = None,
    **cluster: Any,
) -> BudgetPlan:
    machines = {"gpu": "h100", "num_nodes": 1, "gpus_per_node": 8} | cluster
    plan = make_plan(
        preset,
        config_of(preset, *overrides),
        Cluster(**machines),
        load_rates(),
        [tokens],
        sizes or Sizes(),
    )
    return plan.budgets[0]
