"""A plan as lines for people and as JSON for scripts."""

import math
from collections.abc import Iterator
from typing import Any

import orjson

from launch.planning.estimate import HOUR_S, StageEstimate
from launch.planning.outcome import Outcome
from launch.planning.plan import BudgetPlan, Plan

_MINUTE_S, _DAY_S = 60.0, 86_400.0


def short(count: float) -> str:
    """A count in few characters: 950, 98.3K, 2.95M, 1T."""
    for scale, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if count >= scale * 0.9995:
            return f"{count / scale:.3g}{unit}" if count < 999.5 * scale else f"{count:,.0f}"
    return f"{count:.0f}"


def size(num_bytes: float) -> str:
    """Bytes in decimal units."""
    for scale, unit in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if num_bytes >= scale * 0.9995:
            return f"{num_bytes / scale:.3g} {unit}"
    return f"{num_bytes / 1e3:.3g} kB"


def span(seconds: float) -> str:
    """Seconds in the two units that fit: 45 s, 3 min 20 s, 5 h 10 min, 12 d 3 h."""
    if math.isinf(seconds):
        return "never"
    for scale, unit, below, small in (
        (_DAY_S, "d", HOUR_S, "h"),
        (HOUR_S, "h", _MINUTE_S, "min"),
        (_MINUTE_S, "min", 1.0, "s"),
    ):
        whole = round(seconds / below)
        if whole * below >= scale:
            number, rest = divmod(whole, round(scale / below))
            return f"{number:,} {unit} {rest} {small}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


def plan_lines(plan: Plan) -> Iterator[str]:
    """The whole plan."""
    cluster = plan.cluster
    price = f", {cluster.price:g} a GPU-hour" if cluster.price else ""
    reclaimed = cluster.preemptions_per_day
    taken = f", each node reclaimed {reclaimed:g} times a day" if reclaimed else ""
    yield (
        f"plan: {plan.name} on {cluster.num_nodes:,} x {cluster.gpus_per_node} "
        f"{cluster.gpu.upper()}{price}{taken}; rates: {plan.rates.origin}"
    )
    yield ""
    yield (
        f"{'tokens':>8} {'documents':>10} {'GPU-hours':>11} {'wall time':>14} {'storage':>9} "
        f"{'cost':>12}  longest, and what holds it up"
    )
    for budget in plan.budgets:
        cost = f"{budget.cost:,.0f}" if cluster.price else "-"
        yield (
            f"{short(budget.demand.train_tokens):>8} {short(budget.demand.documents):>10} "
            f"{budget.gpu_hours:>11,.1f} {span(budget.wall_s):>14} "
            f"{size(budget.storage_bytes):>9} {cost:>12}  "
            f"{budget.longest.name}: {budget.longest.bottleneck}"
        )
    for budget in plan.budgets:
        yield ""
        yield from _budget_lines(budget)
    yield ""
    yield from _assumption_lines(plan)


def _budget_lines(budget: BudgetPlan) -> Iterator[str]:
    demand = budget.demand
    yield (
        f"{short(demand.train_tokens)} tokens: {short(demand.documents)} documents of "
        f"{demand.document_tokens:,.0f} tokens, {short(demand.converted)} converted in "
        f"{short(demand.parts)} parts; {short(demand.output_tokens)} tokens written, "
        f"{short(demand.packed_tokens)} packed; {short(demand.model.parameters)} parameters, "
        f"{short(demand.steps)} steps"
    )
    yield (
        f"  {'stage':<7} {'wall time':>14} {'GPU-hours':>11} {'CPU-hours':>11}  "
        f"{'held up by':<28} basis"
    )
    for stage in budget.stages:
        yield (
            f"  {stage.name:<7} {span(stage.wall_s):>14} {_hours(stage.gpu_hours):>11} "
            f"{_hours(stage.cpu_hours):>11}  {_held_up(stage):<28} {stage.basis}"
        )
    folders = ", ".join(f"{name} {size(b)}" for name, b in demand.bytes_by_folder.items() if b)
    yield f"  storage {size(budget.storage_bytes)}: {folders}"
    for stage in budget.stages:
        if stage.outcome is not None:
            yield f"  synth, simulated: {outcome_text(stage.outcome)}"
    for note in budget.notes:
        yield f"  note: {note}"


def _hours(hours: float) -> str:
    return f"{hours:,.1f}" if hours >= 0.05 else "-"


def _held_up(stage: StageEstimate) -> str:
    """The bottleneck, and its share of the time of the stage."""
    if not stage.wall_s or math.isinf(stage.wall_s):
        return stage.bottleneck
    return f"{stage.bottleneck} {stage.limits_s[stage.bottleneck] / stage.wall_s:.0%}"


def outcome_text(outcome: Outcome) -> str:
    """A simulation in one line."""
    scenario = outcome.scenario
    full = outcome.saturation_workers
    board = "" if math.isinf(full) else f" (all of it at {full:,.0f} workers)"
    return (
        f"{scenario.num_workers:,} engines, {scenario.num_parts:,} parts of "
        f"{span(scenario.part_s)}: goodput {outcome.goodput:.1%}, engine starts "
        f"{outcome.starting_share:.1%}, redone {outcome.redone_share:.2%}, idle "
        f"{outcome.idle_share:.1%}, board busy {outcome.board_load:.1%}{board}"
    )


def _assumption_lines(plan: Plan) -> Iterator[str]:
    bases = {stage.basis for budget in plan.budgets for stage in budget.stages}
    if "carried over" in bases:
        yield "carried over: from rates measured on other machines (--show-rates lists them)"
    said = dict.fromkeys(each for budget in plan.budgets for each in budget.assumptions)
    if said:
        yield "assumed, not measured by this project:"
    for each in said:
        yield f"  - {each}"


def plan_json(plan: Plan) -> str:
    """The plan as one JSON object, in seconds, bytes and hours; what never ends is null."""
    values = {
        "config": plan.name,
        "gpu": plan.cluster.gpu,
        "nodes": plan.cluster.num_nodes,
        "gpus_per_node": plan.cluster.gpus_per_node,
        "price": plan.cluster.price,
        "preemptions_per_day": plan.cluster.preemptions_per_day,
        "rates": plan.rates.origin,
        "budgets": [_budget_json(budget) for budget in plan.budgets],
    }
    return orjson.dumps(values, option=orjson.OPT_INDENT_2).decode()


def _budget_json(budget: BudgetPlan) -> dict[str, Any]:
    demand = budget.demand
    return {
        "train_tokens": demand.train_tokens,
        "documents": demand.documents,
        "converted": demand.converted,
        "parts": demand.parts,
        "prompt_tokens": demand.prompt_tokens,
        "output_tokens": demand.output_tokens,
        "packed_tokens": demand.packed_tokens,
        "steps": demand.steps,
        "parameters": demand.model.parameters,
        "train_flops": demand.flops,
        "bytes": dict(demand.bytes_by_folder),
        "gpu_hours": budget.gpu_hours,
        "wall_s": budget.wall_s,
        "cost": budget.cost,
        "stages": {stage.name: _stage_json(stage) for stage in budget.stages},
        "assumptions": list(budget.assumptions),
        "notes": list(budget.notes),
    }


def _stage_json(stage: StageEstimate) -> dict[str, Any]:
    values: dict[str, Any] = {
        "wall_s": stage.wall_s,
        "gpu_hours": stage.gpu_hours,
        "cpu_hours": stage.cpu_hours,
        "bottleneck": stage.bottleneck,
        "limits_s": dict(stage.limits_s),
        "basis": stage.basis,
    }
    if (outcome := stage.outcome) is not None:
        values["simulation"] = {
            "workers": outcome.scenario.num_workers,
            "parts": outcome.scenario.num_parts,
            "finish_s": outcome.finish_s,
            "goodput": outcome.goodput,
            "redone_share": outcome.redone_share,
            "starting_share": outcome.starting_share,
            "board_load": outcome.board_load,
            "saturation_workers": outcome.saturation_workers,
            "preempted": outcome.num_preempted,
        }
    return values
