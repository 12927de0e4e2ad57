"""metrics.jsonl across restarts."""

from pathlib import Path

from train.metrics import MetricsLog, read_metrics


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
