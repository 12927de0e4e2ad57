"""How a plan is shown."""

import json
import math

import pytest

from launch.planning.cluster import Cluster
from launch.planning.demand import Sizes
from launch.planning.plan import Plan, make_plan
from launch.planning.rates import load_rates
from launch.planning.table import plan_json, plan_lines, short, size, span
from tests.unit.launch.planning.plans import config_of


def plan_of(*overrides: str, **cluster: float) -> Plan:
    machines = Cluster("h100", 2, 8, **cluster)
    config = config_of("scratch-500m", *overrides)
    return make_plan("scratch-500m", config, machines, load_rates(), [1e9, 1e11], Sizes())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "0.25 s"),
        (45, "45 s"),
        (59.9, "1 min 0 s"),
        (3_599.9, "1 h 0 min"),
        (5 * 3600 + 610, "5 h 10 min"),
        (12.13 * 86_400, "12 d 3 h"),
        (math.inf, "never"),
    ],
)
def test_spans_of_time(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_counts_and_sizes_are_short() -> None:
    assert [short(n) for n in (950, 98_304, 2.95e6, 1e12)] == ["950", "98.3K", "2.95M", "1T"]
    assert [size(n) for n in (500, 1.5e6, 2e12)] == ["0.5 kB", "1.5 MB", "2 TB"]


def test_a_row_a_budget_a_block_a_budget_and_what_is_assumed() -> None:
    lines = list(plan_lines(plan_of(price=2.5, preemptions_per_day=1)))
    text = "\n".join(lines)
    assert "2 x 8 H100, 2.5 a GPU-hour, each node reclaimed 1 times a day" in lines[0]
    assert sum(line.lstrip().startswith(("1B ", "100B ")) for line in lines) == 4
    assert sum(line.startswith("  train ") for line in lines) == 2
    assert "goodput" in text
    assert "assumed, not measured by this project:" in lines
    assert lines[-1].startswith("  - ")


def test_without_a_price_nothing_is_said_to_cost_nothing() -> None:
    assert " 0  " not in next(line for line in plan_lines(plan_of()) if line.startswith("      1B"))


def test_json_holds_all_that_is_shown_and_what_never_ends_is_null() -> None:
    plan = plan_of(price=2.0)
    budget = json.loads(plan_json(plan))["budgets"][1]
    assert budget["cost"] == pytest.approx(2.0 * budget["gpu_hours"])
    assert budget["train_tokens"] == 1e11
    assert budget["stages"]["synth"]["simulation"]["goodput"] <= 1
    assert budget["stages"]["train"]["basis"] == "assumed"
    endless = plan_of("train.checkpoint_every=200000", preemptions_per_day=200)
    assert json.loads(plan_json(endless))["budgets"][1]["wall_s"] is None
    assert "never" in "\n".join(plan_lines(endless))
