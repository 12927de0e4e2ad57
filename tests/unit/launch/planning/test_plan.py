"""What holds of every plan: proportion, monotony, cost, and honesty about what was not measured."""

import math
from itertools import pairwise

import pytest

from launch.planning.cluster import Cluster
from launch.planning.demand import Sizes
from launch.planning.plan import make_plan
from launch.planning.rates import load_rates
from pipeline.errors import InputError
from tests.unit.launch.planning.plans import PRESETS, config_of, planned


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_planned(preset: str) -> None:
    budget = planned(preset)
    assert [stage.name for stage in budget.stages] == ["ingest", "synth", "filter", "pack", "train"]
    assert all(0 < stage.wall_s < math.inf for stage in budget.stages)
    assert budget.wall_s == pytest.approx(sum(stage.wall_s for stage in budget.stages))


def test_work_is_in_proportion_to_tokens() -> None:
    one, ten = planned(tokens=1e10), planned(tokens=1e11)
    for name in ("documents", "converted", "output_tokens", "packed_tokens", "steps", "flops"):
        assert getattr(ten.demand, name) == pytest.approx(10 * getattr(one.demand, name)), name
    for name in ("documents", "augmented", "filtered", "rows"):
        sizes = [budget.demand.bytes_by_folder[name] for budget in (one, ten)]
        assert sizes[1] == pytest.approx(10 * sizes[0]), name
    assert ten.gpu_hours == pytest.approx(10 * one.gpu_hours, rel=0.05), "but for the starts"


@pytest.mark.parametrize("preset", ["scratch-1.3b", "continual-8b"])
def test_more_nodes_are_never_slower(preset: str) -> None:
    plans = [planned(preset, 1e11, num_nodes=nodes) for nodes in (1, 2, 4, 8, 16)]
    for fewer, more in pairwise(plans):
        for before, after in zip(fewer.stages, more.stages, strict=True):
            assert after.wall_s <= before.wall_s * 1.001, after.name
    assert plans[-1].stages[1].wall_s < plans[0].stages[1].wall_s / 10, "synthesis scales"


def test_cost_is_gpu_hours_times_price() -> None:
    budget = planned(price=2.5)
    assert budget.gpu_hours > 0
    assert budget.cost == pytest.approx(2.5 * budget.gpu_hours)
    assert budget.gpu_hours == sum(stage.gpu_hours for stage in budget.stages)
    assert planned(price=0.0).cost == 0


def test_a_bottleneck_is_the_longest_of_the_limits_and_none_is_beaten() -> None:
    for stage in planned(num_nodes=4).stages:
        assert stage.limits_s[stage.bottleneck] == max(stage.limits_s.values())
        assert stage.wall_s >= max(stage.limits_s.values()), stage.name


def test_nothing_is_said_to_be_measured_that_the_table_does_not_call_so() -> None:
    rates = load_rates()
    for preset in PRESETS:
        budget = planned(preset)
        assert {stage.basis for stage in budget.stages} == {"assumed"}, "texts are assumed at least"
        assert set(budget.assumptions) >= {
            rates.by_name[name].why for name in ("text.document_tokens", "storage.bytes_per_s")
        }


def test_mfu_counts_as_measured_only_where_it_was() -> None:
    as_measured = planned(gpus_per_node=1)
    assert not any("MFU" in each for each in as_measured.assumptions)
    for other in (
        planned(gpus_per_node=8),
        planned(gpus_per_node=1, gpu="h200"),
        planned("scratch-1.3b", gpus_per_node=1),
    ):
        assert any("MFU" in each for each in other.assumptions)


def test_compiled_training_is_as_much_faster_as_measured() -> None:
    plain = planned(gpus_per_node=1).stages[-1].limits_s["compute"]
    compiled = planned("scratch-500m", 1e10, "train.compile=true", gpus_per_node=1)
    assert plain / compiled.stages[-1].limits_s["compute"] == pytest.approx(0.441 / 0.29)


def test_one_process_is_named_where_it_takes_days() -> None:
    assert not any("one process" in note for note in planned(tokens=1e9).notes)
    notes = planned(tokens=1e12, num_nodes=16).notes
    assert any(note.startswith("ingest: one process") for note in notes)


def test_preemption_costs_time_and_is_said() -> None:
    calm, rough = planned(num_nodes=4), planned(num_nodes=4, preemptions_per_day=4.0)
    assert rough.stages[1].wall_s > calm.stages[1].wall_s
    assert rough.stages[-1].wall_s > calm.stages[-1].wall_s
    assert any("restarts" in note for note in rough.notes)
    never = planned("scratch-500m", 1e11, "train.checkpoint_every=200000", preemptions_per_day=200)
    assert math.isinf(never.wall_s)
    assert any("train.checkpoint_every" in note for note in never.notes)


def test_parts_that_take_longer_than_machines_last_are_said_never_to_end() -> None:
    long = planned("scratch-500m", 1e11, "ingest.docs_per_part=2000000", preemptions_per_day=100)
    assert math.isinf(long.stages[1].wall_s)
    assert any("lower ingest.docs_per_part" in note for note in long.notes)
    short = planned("scratch-500m", 1e11, "ingest.docs_per_part=2000", preemptions_per_day=100)
    assert short.stages[1].wall_s < math.inf


def test_what_cannot_be_planned_is_refused_with_what_can() -> None:
    with pytest.raises(InputError, match="a100, h100, h200, cpu"):
        planned(gpu="tpu")
    with pytest.raises(InputError, match="--rates RUN"):
        planned(gpu="cpu")
    with pytest.raises(InputError, match="--nodes"):
        planned(num_nodes=0)
    with pytest.raises(InputError, match="--price"):
        planned(price=float("nan"))
    with pytest.raises(InputError, match="--gpus-per-node"):
        planned("scratch-500m", 1e9, "synth.engine.tensor_parallel_size=16")
    with pytest.raises(InputError, match="--synthesizer-parameters"):
        planned("scratch-500m", 1e9, "synth.model=somebody/model")


def test_what_the_user_says_of_a_model_takes_the_place_of_the_table() -> None:
    config = config_of("scratch-500m", "synth.model=somebody/model")
    plans = [
        make_plan("x", config, Cluster("h100", 1, 8), load_rates(), [1e10], Sizes(), count)
        for count in (1.7e9, 7.24e9, 14.48e9)
    ]
    hours = [plan.budgets[0].stages[1].limits_s["engines"] for plan in plans]
    assert hours[1] / hours[0] == pytest.approx(9194 / 4854, rel=1e-3)
    assert hours[2] / hours[1] == pytest.approx(2.0, rel=1e-3)
