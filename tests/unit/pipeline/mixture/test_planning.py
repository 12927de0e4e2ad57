"""Settings and sizes to a schedule; what a run will see; errors that say what to do."""

import numpy as np
import pytest

from pipeline.config import validate
from pipeline.errors import InputError
from pipeline.mixture.config import MixtureConfig
from pipeline.mixture.planning import PackedSources, plan_run, plan_schedule

SIZES = {"web-raw": 6000, "web-augmented": 2000, "law-raw": 1000, "tuning-raw": 100, "none-raw": 0}
SOURCES = PackedSources(SIZES, seq_len=100)


def make(**settings: object) -> MixtureConfig:
    return validate(MixtureConfig, {"block_rows": 100} | settings, "test")


def counts(total_rows: int = 10_000, **settings: object) -> dict[str, int]:
    plan = plan_run(make(**settings), SOURCES, total_rows, seed=0)
    assert plan.counts.sum() == total_rows
    return dict(zip(plan.names, plan.counts.tolist(), strict=True))


def close(expected: dict[str, float], found: dict[str, int]) -> bool:
    return found.keys() == expected.keys() and all(
        abs(found[name] - value) <= 2 for name, value in expected.items()
    )


def test_left_out_the_mixture_is_in_proportion_to_rows() -> None:
    assert counts(9100) == {name: rows for name, rows in SIZES.items() if rows}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"weights": {"web-raw": 3, "law-raw": 1}}, {"web-raw": 7500, "law-raw": 2500}),
        (
            {"rule": "size_capped", "cap_tokens": 100_000},
            {"web-raw": 3225.8, "web-augmented": 3225.8, "law-raw": 3225.8, "tuning-raw": 322.6},
        ),
        (
            {"temperature": 2},
            {"web-raw": 4729, "web-augmented": 2730, "law-raw": 1931, "tuning-raw": 610},
        ),
        (
            {"ratio": {"tuning-raw": 1, "*-raw": 3, "*-augmented": 1}},
            {"web-raw": 5142.9, "law-raw": 857.1, "web-augmented": 2000, "tuning-raw": 2000},
        ),
        (
            {"repeat": {"tuning-*": 4}},
            {"web-raw": 6382.9, "web-augmented": 2127.7, "law-raw": 1063.8, "tuning-raw": 425.5},
        ),
        (
            {"rule": "unimax", "max_epochs": 2},
            {"web-raw": 3900, "web-augmented": 3900, "law-raw": 2000, "tuning-raw": 200},
        ),
    ],
)
def test_rules(settings: dict[str, object], expected: dict[str, float]) -> None:
    assert close(expected, counts(**settings)), counts(**settings)


def test_phases_hold_constant_and_ramped_weights() -> None:
    config = make(
        phases=[
            {"until": 0.5, "weights": {"web-raw": 1}},
            {"until": 0.7, "ramp": True, "weights": {"web-raw": 1, "law-raw": 1}},
            {"until": 1, "weights": {"law-raw": 1}},
        ]
    )
    plan = plan_run(config, SOURCES, 10_000, seed=0)
    assert plan.names == ("law-raw", "web-raw")
    assert [(phase.start, phase.end) for phase in plan.phases] == [
        (0, 5000),
        (5000, 7000),
        (7000, 10_000),
    ]
    np.testing.assert_allclose(
        [phase.counts for phase in plan.phases], [[0, 5000], [500, 1500], [3000, 0]], atol=1
    )


def test_large_sources_come_first_and_alone() -> None:
    config = make(
        rule="temperature",
        temperature=5,
        high_resource_first={"sources": ["web-*"], "until": 0.25},
    )
    plan = plan_run(config, SOURCES, 10_000, seed=0)
    first = dict(zip(plan.names, plan.phases[0].counts.tolist(), strict=True))
    assert first == {"web-raw": 1875, "web-augmented": 625, "law-raw": 0, "tuning-raw": 0}
    assert (plan.phases[1].counts > 0).all()


def test_unimax_counts_what_earlier_phases_took() -> None:
    config = make(
        max_epochs=1,
        phases=[
            {"until": 0.5, "weights": {"law-raw": 1}},
            {"until": 1, "rule": "unimax"},
        ],
    )
    plan = plan_run(config, SOURCES, 1800, seed=0)
    taken = dict(zip(plan.names, plan.counts.tolist(), strict=True))
    assert taken["tuning-raw"] == 100
    assert taken["law-raw"] == pytest.approx(1000, abs=1)  # 900 before, and 100 are left
    assert taken["web-raw"] == pytest.approx(350, abs=1)


def test_a_schedule_goes_on_behind_the_planned_end() -> None:
    mixture = plan_schedule(make(weights={"web-raw": 1, "law-raw": 1}), SOURCES, 100, seed=0)
    assert mixture.counts_before(5000).tolist() == [2500, 2500]


def test_over_repetition_and_unused_sources_are_warned_of() -> None:
    plan = plan_run(make(weights={"tuning-raw": 1, "web-raw": 9}), SOURCES, 10_000, seed=0)
    assert [line.split(":")[0] for line in plan.warnings] == [
        "tuning-raw",
        "packed but not in the mixture",
    ]
    assert "10.0 epochs" in plan.warnings[0]
    assert "law-raw, none-raw, web-augmented" in plan.warnings[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": {"web-row": 1.0}}, "'web-row'; did you mean 'web-raw'?"),
        ({"ratio": {"*-agmented": 1.0}}, r"'\*-agmented' fits no source; did you mean"),
        ({"repeat": {"*": 0}}, "makes every source count 0 times"),
        ({"repeat": {"x*": 4}}, r"'x\*' fits no source"),
        ({"weights": {"web-raw": 0.0}}, "sum to 0"),
        ({"weights": {"none-raw": 1.0}}, "'none-raw' is 1, but it has no training row"),
        ({"ratio": {"none-*": 1.0}}, "its sources have no training row"),
        ({"weights": {"tuning-raw": 1}, "max_epochs": 4}, "100.00 epochs of 'tuning-raw'"),
        ({"rule": "unimax", "max_epochs": 1}, "raise max_epochs 1.10-fold"),
        ({"high_resource_first": {"sources": ["big-*"], "until": 0.5}}, r"'big-\*' fits no source"),
        (
            {"phases": [{"until": 1e-9}, {"until": 1}]},
            "has no row in a run",
        ),
    ],
)
def test_what_cannot_be_had_says_what_to_do(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan_schedule(make(**settings), SOURCES, 10_000, seed=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": {"a": -1.0}}, "finite and not negative"),
        ({"rule": "temperature"}, "needs temperature"),
        ({"rule": "proportional", "weights": {"a": 1}}, "weights is for rule 'explicit'"),
        ({"weights": {"a": 1}, "repeat": {"a": 2}}, "repeat goes with rules that compare sizes"),
        ({"rule": "unimax"}, "needs mixture.max_epochs"),
        ({"phases": [{"until": 0.5}]}, "the last at 1"),
        ({"phases": [{"until": 0.5}, {"until": 0.4}, {"until": 1}]}, "must end later"),
        ({"phases": [{"until": 1, "ramp": True}]}, "none before it to ramp from"),
        ({"phases": [{"until": 1}], "weights": {"a": 1}}, "belong into each phase"),
        ({"phases": [{"until": 1}], "online": {"rule": "odm"}}, "go with neither online"),
        ({"ratio": {"a": float("inf")}}, "finite and not negative"),
        ({"max_epochs": 2, "online": {"rule": "odm"}}, "cannot be kept by online"),
        ({"weigths": {"a": 1}}, "did you mean 'weights'"),
    ],
)
def test_settings_that_contradict_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(**settings)


def test_the_order_of_patterns_belongs_to_the_mixture() -> None:
    one, other = (make(ratio=dict(p)) for p in ((("*-raw", 1), ("a", 2)), (("a", 2), ("*-raw", 1))))
    assert one.content_fields() == other.content_fields()
    assert one.pattern_order() != other.pattern_order()


def test_the_mixture_is_described_in_a_line() -> None:
    assert make(weights={"a": 0.8, "b": 0.2}).describe() == "explicit (a 0.8, b 0.2)"
    assert make(repeat={"t": 4}).describe() == "proportional, t x 4"
    phases = [{"until": 0.5}, {"until": 1, "ramp": True, "temperature": 2}]
    assert (
        make(phases=phases).describe()
        == "proportional until 0.5; ramp to temperature (2.0) until 1"
    )
