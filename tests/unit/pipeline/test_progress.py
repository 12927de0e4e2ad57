"""Progress over time: kept in lines, from start to start, the last figures always."""

import json
from pathlib import Path

import pytest

from pipeline import progress
from pipeline.progress import ProgressLog, StageProgress, duration


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_last_figures_are_kept_however_soon_they_come(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for first in (0, 10):
        with StageProgress("synth", "documents", 20, first, ProgressLog(str(path))) as shown:
            for done in range(first + 1, first + 11):
                shown.update(done, pairs=2 * (done - first))
    lines = lines_of(path)
    assert [line["done"] for line in lines] == [1, 10, 11, 20]
    assert [line["pairs"] for line in lines] == [2, 20, 2, 20]
    assert len({line["start"] for line in lines}) == 2


def test_lines_are_no_closer_than_the_interval(tmp_path: Path, monkeypatch) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    path = tmp_path / "metrics.jsonl"
    log = ProgressLog(str(path))
    for done in range(9):
        log.note(done, {})
        now += 0.5
    assert [line["elapsed_s"] for line in lines_of(path)] == [0, 2, 4]


def test_nothing_noted_leaves_no_file(tmp_path: Path) -> None:
    ProgressLog(str(tmp_path / "metrics.jsonl")).close()
    assert not list(tmp_path.iterdir())


def test_a_line_that_was_cut_off_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"done": 1}\n{"do')
    log = ProgressLog(str(path))
    log.note(2, {})
    log.note(3, {})
    log.close()
    assert [line["done"] for line in lines_of(path)] == [1, 2, 3]


def test_what_cannot_be_written_is_said_once_and_ends_nothing(tmp_path: Path, capsys) -> None:
    with StageProgress(
        "synth", "documents", 3, 0, ProgressLog(str(tmp_path / "none" / "metrics.jsonl"))
    ) as shown:
        for done in range(3):
            shown.update(done)
    error = capsys.readouterr().err
    assert error.count("progress is not kept") == 1
    assert "No such file or directory" in error


@pytest.mark.parametrize(("seconds", "text"), [(5, "0:05"), (65, "1:05"), (3725, "1:02:05")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
