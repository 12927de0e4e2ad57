"""Atomic files and folder locks."""

import errno
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline import storage
from pipeline.errors import BusyError


def test_a_failed_write_keeps_the_old_file_and_names_it(tmp_path: Path) -> None:
    target = tmp_path / "file"
    storage.write_atomic(str(target), b"old")

    def fill_the_disk() -> None:
        with storage.open_atomic(str(target)) as file:
            file.write(b"new")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=rf"No space left.*{target}"):
        fill_the_disk()
    assert target.read_bytes() == b"old"
    assert storage.list_files(str(tmp_path)) == ["file"]


def test_one_writer_a_folder(tmp_path: Path) -> None:
    with (
        storage.exclusive(str(tmp_path)),
        pytest.raises(BusyError, match=r"another run \(process \d+\)"),
        storage.exclusive(str(tmp_path)),
    ):
        pass
    with storage.exclusive(str(tmp_path)):
        pass


def test_a_killed_holder_leaves_no_lock_and_a_dying_one_is_waited_for(tmp_path: Path) -> None:
    code = f"""
import time
from pipeline.storage import exclusive
with exclusive({str(tmp_path)!r}):
    print("held", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(BusyError), storage.exclusive(str(tmp_path)):
        pass
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -9 {holder.pid}"])
    started = time.monotonic()
    with storage.exclusive(str(tmp_path), wait_s=20):
        assert time.monotonic() - started > 0.3
    killer.wait()
    holder.wait()


@pytest.mark.parametrize("root", ["{tmp}", "memory://create"])
def test_of_several_creators_one_succeeds(tmp_path: Path, root: str) -> None:
    uri = storage.join(root.format(tmp=tmp_path), "deep", "file")
    assert storage.create(uri, b"first")
    assert not storage.create(uri, b"second")
    assert storage.read_bytes(uri) == b"first"
    assert storage.list_files(root.format(tmp=tmp_path)) == ["deep/file"]


def test_a_failed_upload_leaves_nothing() -> None:
    def fail() -> None:
        with storage.open_atomic("memory://upload/file") as file:
            file.write(b"half of it")
            raise OSError(errno.EIO, "cable pulled")

    with pytest.raises(OSError, match="cable pulled"):
        fail()
    assert storage.list_files("memory://upload") == []
