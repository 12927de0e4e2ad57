"""metrics.jsonl across restarts and evaluations, and lines that people read down a column."""

import errno
import math
import re
from pathlib import Path
from typing import Any

import pytest

from train import metrics as module
from train.metrics import ConsoleLine, MetricsLog, heldout_losses, read_metrics

STEP = {
    "step": 1,
    "loss": 10.4321,
    "lr": 3e-4,
    "grad_norm": 1.25,
    "perf/tokens_per_s": 51200.4,
    "time/data_wait_share": 0.0123,
    "memory_gib": 3.21,
}
EVALUATION = {
    "step": 2,
    "heldout/web/raw/loss": 2.5,
    "heldout/web/raw/perplexity": 12.18,
    "heldout/kind/free_form/loss": 1.5,
    "heldout/kind/free_form/perplexity": 4.48,
    "sample": {"prompt": "The", "completion": " end\n"},
}


def test_a_resume_drops_the_steps_that_will_be_done_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(str(path), 0)
    for step in (1, 2, 3):
        log.append({"step": step})
    with path.open("a") as file:
        file.write('{"step": 4, "lo')  # killed while writing
    assert [line["step"] for line in read_metrics(str(path))] == [1, 2, 3]
    MetricsLog(str(path), 2).append({"step": 3, "again": True})
    assert read_metrics(str(path)) == [{"step": 1}, {"step": 2}, {"step": 3, "again": True}]


def test_an_evaluation_is_part_of_its_step_also_after_a_resume(tmp_path: Path) -> None:
    path = str(tmp_path / "metrics.jsonl")
    log = MetricsLog(path, 0)
    steps = [STEP | {"step": step} for step in (1, 2, 3)]
    log.append(steps[0])
    log.append(steps[1])
    log.append(EVALUATION)
    log.append(steps[2])
    expected = [steps[0], steps[1] | EVALUATION, steps[2]]
    assert read_metrics(path) == expected
    MetricsLog(path, 2)
    assert read_metrics(path) == expected[:2]


def test_a_step_that_was_written_twice_stays_two(tmp_path: Path) -> None:
    path = str(tmp_path / "metrics.jsonl")
    log = MetricsLog(path, 0)
    log.append({"step": 1, "loss": 2.0})
    log.append({"step": 1, "loss": 3.0})
    assert [line["loss"] for line in read_metrics(path)] == [2.0, 3.0]


def test_lines_without_a_step_are_records_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"start": 1.0, "done": 1}\n{"parts": 2}\n')
    assert read_metrics(str(path)) == [{"start": 1.0, "done": 1}, {"parts": 2}]


def test_heldout_losses_by_source_and_by_kind() -> None:
    record = STEP | EVALUATION | {"loss/web": 3.0}
    assert heldout_losses(record, "source") == {"web/raw": 2.5}
    assert heldout_losses(record, "kind") == {"free_form": 1.5}
    assert heldout_losses(STEP, "source") == {}


def test_the_line_of_a_step() -> None:
    line = ConsoleLine(2000, 0).format(STEP | {"perf/mfu": 0.412})
    assert re.fullmatch(
        r"step    1/2000  loss  10\.4321  lr 3\.00e-04  grad    1\.25  tokens/s     51,200"
        r"  mfu  41\.2%  wait   1\.2%  mem   3\.2 GiB  +[\d:]+ left",
        line,
    )


@pytest.mark.parametrize("known", [{}, {"perf/mfu": 0.05}])
def test_columns_stay_where_they_are(
    monkeypatch: pytest.MonkeyPatch, known: dict[str, float]
) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    console = ConsoleLine(20000, 10)
    changes: list[dict[str, Any]] = [
        {"step": 11, "loss": 12.3456, "perf/tokens_per_s": 1_234_567},
        {"step": 500, "loss": 0.01, "grad_norm": 1234.5},
        {"step": 1500, "loss": math.nan, "grad_norm": math.inf},
        {"step": 9999, "loss": 123456789.0, "grad_norm": 987654.3, "time/data_wait_share": 1.0},
        {"step": 20000, "loss": 2.0, "perf/tokens_per_s": 7, "memory_gib": 139.4},
    ]
    if known:
        changes.append({"step": 20000, "perf/mfu": 1.0})
    lines = []
    for change in changes:
        now += 15.0
        lines.append(console.format(STEP | known | change))
    assert len({len(line) for line in lines}) == 1
    for label in (
        "loss",
        "lr",
        "grad",
        "tokens/s",
        "wait",
        "mem",
        "left",
        *(["mfu"] if known else []),
    ):
        assert len({line.index(label) for line in lines}) == 1
    assert "loss  12.3456" in lines[0]
    assert "loss      nan" in lines[2]
    assert "grad 1234.50" in lines[1]
    assert "tokens/s  1,234,567" in lines[0]
    assert ("mfu" in lines[0]) == bool(known)


def test_time_left_counts_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    console = ConsoleLine(1000, 100)
    now = 20.0
    assert console.format(STEP | {"step": 110}).endswith(" 29:40 left")
    assert console.format(STEP | {"step": 101}).endswith(" 4:59:40 left")


def test_an_anomaly_stands_at_the_end() -> None:
    line = ConsoleLine(2, 0).format(STEP | {"step": 2, "anomaly": "skipped: loss not finite"})
    assert line.endswith("0:00 left  skipped: loss not finite")


def test_the_lines_of_an_evaluation() -> None:
    assert ConsoleLine(1000, 0).format_heldout(STEP | EVALUATION) == [
        "step    2/1000  held-out loss  web/raw   2.5000",
        "step    2/1000  held-out loss by kind  free_form   1.5000",
        "step    2/1000  sample 'The' -> ' end\\n'",
    ]
    assert ConsoleLine(1000, 0).format_heldout(STEP) == []


def test_what_a_full_disk_refuses_is_written_with_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(str(path), 0)
    log.append({"step": 1})
    assert log.sync()
    opened = Path.open

    def full(self: Path, mode: str = "r", **options):
        if mode != "ab":
            return opened(self, mode, **options)
        with opened(self, mode) as file:
            file.write(b'{"ste')
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    log.append({"step": 2})
    log.append({"step": 3})
    assert not log.sync()
    assert [line["step"] for line in read_metrics(str(path))] == [1]
    monkeypatch.undo()
    log.append({"step": 4})
    assert log.sync()
    assert [line["step"] for line in read_metrics(str(path))] == [1, 2, 3, 4]
