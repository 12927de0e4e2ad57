"""Bisection over the requests that were in flight when an engine died."""

from hypothesis import given
from hypothesis import strategies as st

from synth.engines.isolation import Isolation


def simulate(num_requests: int, killers: set[int], capacity: int) -> tuple[set[int], int]:
    """Run requests on engines that die of `killers`; returns who was condemned, and the deaths."""
    isolation, waiting = Isolation(), list(range(num_requests))
    condemned: set[int] = set()
    num_deaths = 0
    while waiting:
        assert num_deaths < 1000
        in_flight = [request for request in waiting if isolation.may_run(request)][:capacity]
        assert in_flight, "everybody waits for nobody"
        if killers.isdisjoint(in_flight):
            isolation.ended(in_flight[0])
            waiting.remove(in_flight[0])
            continue
        num_deaths += 1
        culprit = isolation.engine_died(in_flight)
        if culprit is not None:
            condemned.add(culprit)
            isolation.ended(culprit)
            waiting.remove(culprit)
    assert not isolation.is_active
    return condemned, num_deaths


@given(
    num_requests=st.integers(1, 60),
    killers=st.sets(st.integers(0, 59), max_size=4),
    capacity=st.integers(1, 70),
)
def test_exactly_the_killers_are_condemned(
    num_requests: int, killers: set[int], capacity: int
) -> None:
    killers = {killer for killer in killers if killer < num_requests}
    condemned, _ = simulate(num_requests, killers, capacity)
    assert condemned == killers


def test_one_killer_among_256_costs_a_dozen_deaths() -> None:
    condemned, num_deaths = simulate(300, {131}, 256)
    assert condemned == {131}
    assert num_deaths <= 12


def test_one_death_accuses_nobody_and_an_answer_clears() -> None:
    isolation = Isolation()
    assert isolation.engine_died({1, 2}) is None
    assert not isolation.is_active
    isolation.ended(1)
    assert isolation.engine_died({3}) is None
    assert not isolation.is_active, "request 3 has seen one death only"


def test_others_wait_while_suspects_are_on_trial() -> None:
    isolation = Isolation()
    for _ in range(2):
        isolation.engine_died({1, 2, 3, 4})
    assert [isolation.may_run(request) for request in (1, 2, 3, 4, 5)] == [
        True,
        True,
        False,
        False,
        False,
    ]
    isolation.ended(1)
    isolation.ended(2)
    assert [isolation.may_run(request) for request in (3, 4, 5)] == [True, True, False]
    isolation.ended(3)
    isolation.ended(4)
    assert isolation.may_run(5)
