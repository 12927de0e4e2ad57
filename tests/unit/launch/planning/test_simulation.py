"""The simulation: conserves parts, repeats itself, and loses what the rules say."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launch.planning.outcome import JOURNAL_S, BoardCosts, Scenario
from launch.planning.simulation import simulate
from pipeline.errors import InputError
from synth import board, journal

CALM = Scenario(num_workers=10, num_parts=500, part_s=60.0, engine_start_s=90.0)
ROUGH = replace(CALM, preemptions_per_day=60.0, waves_per_day=72.0, num_zones=2, seed=3)


def test_undisturbed_only_the_start_and_the_tail_are_lost() -> None:
    outcome = simulate(CALM)
    assert outcome.num_finished == 500
    assert outcome.lost_s == outcome.num_preempted == 0
    assert outcome.useful_s == pytest.approx(500 * 60.0)
    assert outcome.starting_s == 10 * 90.0
    at_best_s = 90.0 + 500 * 60.0 / 10
    assert at_best_s <= outcome.finish_s <= at_best_s * 1.05
    assert outcome.goodput >= 1 - outcome.starting_share - 0.05


def test_the_same_seed_gives_the_same_outcome_and_another_one_does_not() -> None:
    assert simulate(ROUGH) == simulate(ROUGH)
    assert simulate(ROUGH).finish_s != simulate(replace(ROUGH, seed=4)).finish_s


def test_preempted_every_part_is_finished_once_and_no_more_is_redone_than_was_at_risk() -> None:
    outcome = simulate(ROUGH)
    assert outcome.num_preempted > 10, "or this shows nothing"
    assert outcome.num_waves > 0
    assert outcome.num_finished == 500
    assert outcome.useful_s == pytest.approx(500 * 60.0)
    assert 0 < outcome.parts_begun_again <= outcome.parts_at_risk
    assert 0 < outcome.redone_share < 0.2
    assert outcome.goodput < simulate(CALM).goodput


def test_shares_of_the_paid_time_add_up() -> None:
    outcome = simulate(ROUGH)
    lost = outcome.lost_s / outcome.paid_s
    total = outcome.goodput + lost + outcome.starting_share + outcome.idle_share
    assert total == pytest.approx(1.0)


def test_the_journal_keeps_all_but_some_seconds() -> None:
    rough = replace(ROUGH, part_s=300.0, num_parts=100)
    without, kept = simulate(rough), simulate(replace(rough, journal_s=10.0))
    assert kept.parts_begun_again > 5
    assert kept.lost_s <= 10.0 * kept.parts_begun_again
    assert kept.lost_s < without.lost_s / 5


def test_nodes_take_all_their_workers_with_them() -> None:
    outcome = simulate(replace(CALM, workers_per_node=5, preemptions_per_day=40.0))
    assert outcome.num_preempted > 0
    assert outcome.num_preempted % 5 == 0


def test_an_engine_that_several_parts_fill_takes_as_long_for_all_of_them() -> None:
    wide = simulate(replace(CALM, width=4, spread=0.0))
    assert wide.finish_s == pytest.approx(simulate(replace(CALM, spread=0.0)).finish_s, rel=0.15)


def test_a_board_that_is_slow_holds_workers_up() -> None:
    busy = BoardCosts(event_s=0.5, report_s=0.05, news_s=0.0)
    short = replace(CALM, part_s=1.0, engine_start_s=0.0)
    slow = simulate(replace(short, board=busy))
    assert slow.board_load > 0.95
    assert slow.finish_s > 2 * simulate(short).finish_s
    assert slow.saturation_workers == pytest.approx(1 / (0.05 + 0.5))


def test_more_workers_than_parts_go_home() -> None:
    outcome = simulate(replace(CALM, num_parts=4))
    assert outcome.num_finished == 4
    assert outcome.paid_s < 10 * outcome.finish_s


@pytest.mark.parametrize("name", ["num_workers", "num_parts", "part_s", "width"])
def test_what_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=name):
        replace(CALM, **{name: 0})


def test_waits_are_those_of_the_board() -> None:
    assert CALM.silence_s == board._SILENCE_S
    assert journal._SEGMENT_INTERVAL_S == JOURNAL_S


@settings(deadline=None, max_examples=25)
@given(
    workers=st.integers(1, 12),
    parts=st.integers(1, 60),
    width=st.integers(1, 4),
    reclaimed=st.sampled_from([0.0, 5.0, 50.0]),
    seed=st.integers(0, 100),
)
def test_every_part_is_finished_exactly_once(
    workers: int, parts: int, width: int, reclaimed: float, seed: int
) -> None:
    outcome = simulate(
        Scenario(
            num_workers=workers,
            num_parts=parts,
            part_s=120.0,
            width=width,
            preemptions_per_day=reclaimed,
            waves_per_day=reclaimed,
            workers_per_node=2,
            seed=seed,
        )
    )
    assert outcome.hopeless_part or outcome.num_finished == parts
    assert outcome.goodput <= 1 + 1e-9
