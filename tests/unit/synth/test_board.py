"""How a job stands, as its workers and its driver see it."""

from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.opening import open_stage
from pipeline.stage import PartCommit
from synth import board as board_module
from synth.board import FinishedPart, JobBoard, WorkerReport, find_todo


def commit(folder: Path, *numbers: int) -> None:
    stage = open_stage(str(folder), folder.name, {}, {})
    for number in numbers:
        part = f"s/part-{number:08d}"
        stage.commit(PartCommit(part=part, files=[], records_in=0, records_out=0))


@pytest.fixture
def board(tmp_path: Path) -> JobBoard:
    """Four parts, of which the first is committed; two workers stay to the end."""
    commit(tmp_path / "documents", 0, 1, 2, 3)
    commit(tmp_path / "augmented", 0)
    return JobBoard(str(tmp_path / "documents"), str(tmp_path / "augmented"), min_workers=2)


def finished(part: str, *, is_ours: bool = True, **counts: int) -> FinishedPart:
    return FinishedPart(part, counts, is_ours)


def test_what_is_committed_is_not_handed_out(board: JobBoard) -> None:
    parts = []
    reply = board.take("w")
    while reply.assignment is not None:
        parts.append(reply.assignment.part)
        reply = board.finish("w", finished(parts[-1], documents=2))
    assert parts == [f"s/part-{number:08d}" for number in (1, 2, 3)]
    assert reply.is_over
    figures = board.news().figures
    assert figures["parts_done"] == figures["parts_total"] == 4
    assert figures["parts_done_before"] == 1
    assert figures["documents"] == 6


def test_nobody_is_sent_home_while_a_part_is_in_flight(board: JobBoard) -> None:
    held = [board.take("a").assignment for _ in range(3)]
    assert all(held)
    reply = board.take("b")
    assert reply.assignment is None
    assert not reply.is_over
    board.bury("a")
    assert board.take("b").assignment is not None
    assert board.news().figures["workers_lost"] == 1
    assert board.news().figures["parts_taken_back"] == 3


def test_counts_of_parts_in_flight_go_with_their_worker(board: JobBoard) -> None:
    taken = board.take("a").assignment
    assert taken is not None
    counts = {taken.part: {"documents": 5}}
    board.report("a", WorkerReport(counts, num_engine_restarts=2))
    assert board.news().figures["documents"] == 5
    board.bury("a")
    figures = board.news().figures
    assert figures.get("documents", 0) == 0
    assert figures["engine_restarts"] == 2, "what happened stays"


def test_a_part_that_another_run_committed_counts_no_documents(board: JobBoard) -> None:
    taken = board.take("a").assignment
    assert taken is not None
    board.finish("a", finished(taken.part, is_ours=False, documents=7))
    assert board.news().figures["parts_done"] == 2
    assert board.news().figures.get("documents", 0) == 0


def test_a_silent_worker_is_given_up_and_may_come_back(
    board: JobBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(board_module.time, "monotonic", lambda: now)
    taken = board.take("a").assignment
    assert taken is not None
    now += 31
    assert board.news().figures["workers"] == 0
    assert board.news().figures["parts_in_flight"] == 0
    board.report("a", WorkerReport({taken.part: {}}))
    assert board.news().figures["parts_in_flight"] == 1
    board.finish("a", finished(taken.part))
    assert board.news().figures["parts_done"] == 2


def test_a_stop_hands_out_nothing_more(board: JobBoard) -> None:
    taken = board.take("a").assignment
    assert taken is not None
    board.stop()
    assert board.finish("a", finished(taken.part)).is_over


def test_a_part_that_the_input_lacks_is_refused(tmp_path: Path) -> None:
    commit(tmp_path / "documents", 0)
    commit(tmp_path / "augmented", 0, 1)
    with pytest.raises(InputError, match="holds part s/part-00000001, which"):
        find_todo(str(tmp_path / "documents"), str(tmp_path / "augmented"))


def test_a_part_that_its_worker_never_heard_of_is_handed_out_again(board: JobBoard) -> None:
    taken = board.take("a").assignment
    assert taken is not None
    for _ in range(2):
        assert board.news().figures["parts_in_flight"] == 1
        board.report("a", WorkerReport({}))
    assert board.news().figures["parts_in_flight"] == 0
    assert board.take("b").assignment == taken


def test_a_worker_that_was_silent_because_it_died_is_blamed_all_the_same(
    board: JobBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(board_module.time, "monotonic", lambda: now)
    for worker in ("a", "b", "c"):
        taken = board.take(worker).assignment
        assert taken is not None
        assert not taken.is_careful
        now += 31
        board.news()  # gives it up as silent, long before Ray knows that it is dead
        board.bury(worker)
    taken = board.take("d").assignment
    assert taken is not None
    assert taken.is_careful


def test_a_worker_without_work_goes_while_enough_stay(board: JobBoard) -> None:
    for _ in range(3):
        assert board.take("a").assignment is not None
    assert not board.take("b").is_over
    assert board.take("c").is_over
    assert board.take("c").is_over, "its other lanes end as well"
    board.report("c", WorkerReport({}))
    figures = board.news().figures
    assert (figures["workers"], figures["workers_lost"]) == (2, 0)
    assert not board.take("b").is_over


def test_a_worker_that_leaves_knows_whether_others_go_on(board: JobBoard) -> None:
    board.take("a")
    board.take("b")
    assert board.leave("a")
    assert not board.leave("b")
    assert board.news().figures["parts_in_flight"] == 0


def test_a_complaint_reaches_the_driver_once(board: JobBoard) -> None:
    board.complain("no worker on 10.0.0.7: RuntimeError: no driver")
    assert board.news().troubles == ["no worker on 10.0.0.7: RuntimeError: no driver"]
    assert board.news().troubles == []
