"""The run's folder is tried out for real: full, not for writing, without a first writer, held."""

import os
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from launch.preflight.findings import Finding, run_checks
from launch.preflight.storing import probe_folder, storage_checks
from pipeline import storage
from tests.preflighted import full_disk, read_only, subject_of


def look(folder: object, *overrides: str) -> list[Finding]:
    return list(run_checks(list(storage_checks(subject_of("quickstart", f"run.dir={folder}")))))


class Forgetful(MemoryFileSystem):
    """A store that writes over what is there, whatever it is asked."""

    protocol = "forgetful"
    store: dict = {}  # noqa: RUF012 - as in the base
    pseudo_dirs = [""]  # noqa: RUF012

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        super().pipe_file(path, value, **kwargs)


def test_a_folder_of_this_machine_is_fine_and_nothing_stays(tmp_path: Path) -> None:
    [found] = look(tmp_path / "a" / "b")
    assert found.state == "ok", found
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_a_problem(tmp_path: Path) -> None:
    with full_disk(tmp_path / "disk") as disk:
        [found] = look(disk / "run")
        assert found.state == "problem"
        assert "No space left on device" in found.found
        assert "make room" in found.remedy
        assert os.listdir(disk) == ["filler"]


def test_a_disk_for_reading_alone_is_a_problem(tmp_path: Path) -> None:
    with read_only(tmp_path / "disk") as disk:
        [found] = look(disk / "run")
        assert found.state == "problem"
        assert "Read-only file system" in found.found


def test_a_file_in_the_way_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    [found] = look(tmp_path / "file" / "run")
    assert found.state == "problem"
    assert "Not a directory" in found.found


def test_a_store_without_a_first_writer_is_found() -> None:
    fsspec.register_implementation("forgetful", Forgetful, clobber=True)
    found = look("forgetful://bucket/run")
    assert [each.state for each in found] == ["problem", "problem"]
    assert "the train stage needs a file system that all nodes share" in found[0].found
    assert "could be created twice" in found[1].found
    assert not Forgetful.store


def test_a_store_with_one_passes_but_training_does_not() -> None:
    found = look("memory://bucket/run")
    assert [each.state for each in found] == ["problem", "ok"]


def test_a_store_that_lets_nobody_in_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    found = look("s3://bucket/run")[-1]
    storage.locate("s3://bucket")[0].clear_instance_cache()  # others bring credentials
    assert found.state == "problem"
    assert "Unable to locate credentials" in found.found
    assert "credentials of that store" in found.remedy


def test_a_folder_that_another_run_holds_is_a_problem(tmp_path: Path) -> None:
    hold = (
        "import sys; from pipeline.storage import exclusive\n"
        "with exclusive(sys.argv[1]): print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == b"held\n"
        found = look(tmp_path)
    finally:
        process.communicate()
    assert f"another run (process {process.pid})" in found[-1].found
    assert found[-1].state == "problem"
    assert [each.state for each in look(tmp_path)] == ["ok"]


def test_the_probe_goes_also_when_its_block_fails(tmp_path: Path) -> None:
    def fail_in_it() -> None:
        with probe_folder(str(tmp_path)) as folder:
            Path(folder).mkdir()
            raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        fail_in_it()
    assert not list(tmp_path.iterdir())
