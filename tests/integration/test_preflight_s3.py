"""The run's folder in a bucket: what stages do there is tried out on a real server."""

from launch.preflight.findings import run_checks
from launch.preflight.storing import storage_checks
from pipeline import storage
from tests.preflighted import subject_of


def test_a_bucket_can_be_committed_in_but_not_trained_in(bucket: str) -> None:
    subject = subject_of("quickstart", f"run.dir={bucket}/run")
    found = list(run_checks(list(storage_checks(subject))))
    assert [each.state for each in found] == ["problem", "ok"], found
    assert "the train stage needs a file system" in found[0].found
    assert "files can be created once, replaced, listed and removed" in found[1].found
    assert storage.list_files(bucket) == []


def test_a_bucket_that_is_not_there_is_a_problem(bucket: str) -> None:
    subject = subject_of("quickstart", f"run.dir={bucket}-absent/run")
    found = list(run_checks(list(storage_checks(subject))))[-1]
    assert found.state == "problem", found
    assert "bucket does not exist" in found.found
