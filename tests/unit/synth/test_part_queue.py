"""Who gets which part."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from synth.part_queue import Assignment, Loss, PartQueue


def names(count: int) -> list[str]:
    return [f"s/part-{number:08d}" for number in range(count)]


def test_parts_in_order_and_back_to_the_front() -> None:
    queue = PartQueue(names(3))
    assert queue.take("a") == Assignment("s/part-00000000")
    assert queue.take("b") == Assignment("s/part-00000001")
    assert queue.lost("a") == Loss(["s/part-00000000"], None)
    assert queue.take("b") == Assignment("s/part-00000000")
    for part in names(3):
        assert not queue.is_empty
        queue.finish(part)
    assert queue.is_empty
    assert queue.take("b") is None


def test_a_part_that_its_lost_worker_commits_all_the_same_is_done() -> None:
    queue = PartQueue(names(1))
    queue.take("a")
    queue.lost("a")
    queue.finish("s/part-00000000")
    assert queue.is_empty


def test_a_worker_given_up_too_early_claims_its_parts() -> None:
    queue = PartQueue(names(2))
    queue.take("a")
    queue.lost("a")
    queue.claim("a", "s/part-00000000")
    assert queue.take("b") == Assignment("s/part-00000001")
    assert queue.take("b") is None


def test_a_part_that_workers_die_of_is_written_alone_and_its_killer_named() -> None:
    queue = PartQueue(names(4))
    for _ in range(3):  # three deaths with both parts in hand
        assert [queue.take("a").part for _ in range(2)] == names(2)  # type: ignore[union-attr]
        queue.blame(queue.lost("a"))
    careful = queue.take("a")
    assert careful == Assignment("s/part-00000000", is_careful=True)
    assert queue.take("a") is None, "nothing beside a careful part"
    queue.finish("s/part-00000000")  # it was innocent
    for _ in range(2):
        careful = queue.take("a")
        assert careful is not None
        assert careful.part == "s/part-00000001"
        assert not careful.killers
        queue.announce("a", "doc-1")
        queue.announce("a", "doc-2")
        queue.blame(queue.lost("a"))
    careful = queue.take("a")
    assert careful is not None
    assert careful.killers == {"doc-2": "the worker died 2 times while writing about it"}


def test_silence_is_no_evidence() -> None:
    queue = PartQueue(names(1))
    for _ in range(5):
        assert queue.take("a") == Assignment("s/part-00000000")
        queue.lost("a")


def test_a_part_that_kills_outside_its_documents_is_hopeless() -> None:
    queue = PartQueue(names(2))
    for _ in range(10):
        assert not queue.hopeless
        taken = queue.take("a")
        assert taken is not None
        assert not taken.killers
        queue.announce("a", "doc-1")
        queue.announce("a", "")  # all documents are written; it dies while saving
        queue.blame(queue.lost("a"))
    assert queue.hopeless == "s/part-00000000"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["take", "finish", "lost"]))))
def test_every_part_is_waiting_in_flight_or_done(events: list[tuple[str, str]]) -> None:
    queue, done = PartQueue(names(5)), 0
    held: dict[str, list[str]] = {"a": [], "b": [], "c": []}
    for worker, event in events:
        if event == "take" and (assignment := queue.take(worker)):
            held[worker].append(assignment.part)
        elif event == "finish" and held[worker]:
            queue.finish(held[worker].pop())
            done += 1
        elif event == "lost":
            assert queue.lost(worker).parts == sorted(held[worker])
            held[worker] = []
        assert queue.num_waiting + queue.num_in_flight + done == 5


def test_a_part_that_two_workers_have_is_waiting_once_and_done_once() -> None:
    queue = PartQueue(names(2))
    queue.take("a")
    queue.lost("a")
    queue.take("b")
    queue.claim("a", "s/part-00000000")  # both write it now
    assert queue.num_in_flight == 1
    queue.lost("b")
    queue.lost("a")
    assert queue.num_waiting == 2, "not once for each who had it"
    queue.take("b")
    queue.claim("a", "s/part-00000000")
    queue.lost("b")
    assert queue.finish("s/part-00000000"), "it waits, and somebody has it"
    assert not queue.finish("s/part-00000000")
    assert queue.take("b") == Assignment("s/part-00000001"), "what is done is not handed out"


def test_where_many_workers_are_lost_deaths_are_no_suspicion_until_they_are_too_many() -> None:
    queue, num_deaths = PartQueue(names(1000)), Counter[str]()
    choice = random.Random(0)
    killer = "s/part-00000900"
    while not queue.is_empty:
        assignment = queue.take("a")
        assert assignment is not None
        part = assignment.part
        if part == killer and assignment.is_careful:
            break
        assert not assignment.is_careful, f"{part} died by chance, {num_deaths[part]} times"
        if part == killer or choice.random() < 0.12:
            num_deaths[part] += 1
            queue.blame(queue.lost("a"))
        else:
            queue.finish(part)
    assert num_deaths.most_common(2)[1][1] >= 3, "by chance alone"
    assert 5 <= num_deaths[killer] <= 7, "and yet the killer is found"
    assert not queue.hopeless


def test_a_few_deaths_are_suspicious_where_parts_are_finished_in_peace() -> None:
    queue = PartQueue(names(1000))
    for part in names(500):
        queue.take("a")
        queue.finish(part)
    for _ in range(3):
        queue.take("a")
        queue.blame(queue.lost("a"))
    assert queue.take("a") == Assignment("s/part-00000500", is_careful=True)


def test_where_hardly_a_part_survives_the_job_ends_all_the_same() -> None:
    queue = PartQueue(names(1000))
    for part in names(200):
        for _ in range(9):
            queue.take("a")
            queue.blame(queue.lost("a"))
        queue.finish(part)
    for _ in range(40):
        queue.take("a")
        queue.blame(queue.lost("a"))
    assert queue.hopeless == "s/part-00000200"
