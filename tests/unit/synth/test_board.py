"""How a job stands, as its workers and its driver see it."""

from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.stage import PartCommit, open_stage
from synth import board as board_module
from synth.board import FinishedPart, JobBoard, WorkerReport, find_todo


def commit(folder: Path, *numbers: int) -> None:
    stage = open_stage(str(folder), folder.name, {}, {})
    for number in numbers:
        part = f"s/part-{number:08d}"
        stage.commit(PartCommit(part=part, files=[], records_in=0, records_out=0))


@pytest.fixture
def board(tmp_path: Path) -> JobBoard:
    """Four parts, of which the first is committed."""
    commit(tmp_path / "documents", 0, 1, 2, 3)
    commit(tmp_path / "augmented", 0)
    return JobBoard(str(tmp_path / "documents"), str(tmp_path / "augmented"))


def finished(part: str, *, is_ours: bool = True, **counts: int) -> FinishedPart:
    return FinishedPart(part, counts, is_ours)


def test_what_is_committed_is_not_handed_out(board: JobBoard) -> None:
    parts = []
    reply = board.take("w", "actor-w")
    while reply.assignment is not None:
        parts.append(reply.assignment.part)
        reply = board.finish("w", "actor-w", finished(parts[-1], documents=2))
    assert parts == [f"s/part-{number:08d}" for number in (1, 2, 3)]
    assert reply.is_over
    figures = board.figures()
    assert figures["parts_done"] == figures["parts_total"] == 4
    assert figures["parts_done_before"] == 1
    assert figures["documents"] == 6


def test_nobody_is_sent_home_while_a_part_is_in_flight(board: JobBoard) -> None:
    held = [board.take("a", "actor-a").assignment for _ in range(3)]
    assert all(held)
    reply = board.take("b", "actor-b")
    assert reply.assignment is None
    assert not reply.is_over
    board.register("actor-a")  # the actor of `a` was restarted
    assert board.take("b", "actor-b").assignment is not None
    assert board.figures()["workers_lost"] == 1
    assert board.figures()["parts_taken_back"] == 3


def test_counts_of_parts_in_flight_go_with_their_worker(board: JobBoard) -> None:
    taken = board.take("a", "actor-a").assignment
    assert taken is not None
    counts = {taken.part: {"documents": 5}}
    board.report("a", "actor-a", WorkerReport(counts, num_engine_restarts=2))
    assert board.figures()["documents"] == 5
    board.register("actor-a")
    figures = board.figures()
    assert figures.get("documents", 0) == 0
    assert figures["engine_restarts"] == 2, "what happened stays"


def test_a_part_that_another_run_committed_counts_no_documents(board: JobBoard) -> None:
    taken = board.take("a", "actor-a").assignment
    assert taken is not None
    board.finish("a", "actor-a", finished(taken.part, is_ours=False, documents=7))
    assert board.figures()["parts_done"] == 2
    assert board.figures().get("documents", 0) == 0


def test_a_silent_worker_is_given_up_and_may_come_back(
    board: JobBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(board_module.time, "monotonic", lambda: now)
    taken = board.take("a", "actor-a").assignment
    assert taken is not None
    now += 31
    assert board.figures()["workers"] == 0
    assert board.figures()["parts_in_flight"] == 0
    board.report("a", "actor-a", WorkerReport({taken.part: {}}))
    assert board.figures()["parts_in_flight"] == 1
    board.finish("a", "actor-a", finished(taken.part))
    assert board.figures()["parts_done"] == 2


def test_a_stop_hands_out_nothing_more(board: JobBoard) -> None:
    taken = board.take("a", "actor-a").assignment
    assert taken is not None
    board.stop()
    assert board.finish("a", "actor-a", finished(taken.part)).is_over


def test_a_part_that_the_input_lacks_is_refused(tmp_path: Path) -> None:
    commit(tmp_path / "documents", 0)
    commit(tmp_path / "augmented", 0, 1)
    with pytest.raises(InputError, match="holds part s/part-00000001, which"):
        find_todo(str(tmp_path / "documents"), str(tmp_path / "augmented"))


def test_a_part_that_its_worker_never_heard_of_is_handed_out_again(board: JobBoard) -> None:
    taken = board.take("a", "actor-a").assignment
    assert taken is not None
    for _ in range(2):
        assert board.figures()["parts_in_flight"] == 1
        board.report("a", "actor-a", WorkerReport({}))
    assert board.figures()["parts_in_flight"] == 0
    assert board.take("b", "actor-b").assignment == taken


def test_a_worker_whose_engine_starts_slowly_died_all_the_same(
    board: JobBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(board_module.time, "monotonic", lambda: now)
    for life in ("a", "b", "c"):
        board.register("actor")
        taken = board.take(life, "actor").assignment
        assert taken is not None
        assert not taken.is_careful
        now += 31
        board.figures()  # gives it up as silent, long before its next life registers
    board.register("actor")
    taken = board.take("d", "actor").assignment
    assert taken is not None
    assert taken.is_careful


def test_a_worker_that_leaves_knows_whether_others_go_on(board: JobBoard) -> None:
    board.take("a", "actor-a")
    board.take("b", "actor-b")
    assert board.leave("a")
    assert not board.leave("b")
    assert board.figures()["parts_in_flight"] == 0


def test_a_complaint_reaches_the_driver_once(board: JobBoard) -> None:
    board.complain("no worker on 10.0.0.7: RuntimeError: no driver")
    assert board.take_troubles() == ["no worker on 10.0.0.7: RuntimeError: no driver"]
    assert board.take_troubles() == []
