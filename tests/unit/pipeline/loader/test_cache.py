"""The cache of remote ranges: fetched once, bounded, and nothing stale after a kill."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest

from pipeline import storage
from pipeline.errors import InputError
from pipeline.loader.cache import RangeCache
from pipeline.loader.loader import Loader
from pipeline.loader.packed import open_rows
from pipeline.mixture.config import MixtureConfig
from pipeline.mixture.planning import plan_schedule
from tests.packed import pack_documents, random_rows, write_packed

DATA = bytes(range(256)) * 64


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int | None]]:
    """What is read from the remote side."""
    reads = []
    read = storage.read_range

    def counting(uri: str, start: int, length: int | None) -> bytes:
        reads.append((uri, start, length))
        return read(uri, start, length)

    monkeypatch.setattr(storage, "read_range", counting)
    return reads


@pytest.fixture
def remote() -> str:
    uri = "memory://bucket/file.bin"
    with fsspec.open(uri, "wb") as file:
        file.write(DATA)
    return uri


def stored(folder: Path) -> list[Path]:
    return sorted(folder.glob("ranges/*/*"))


def test_a_range_is_fetched_once(tmp_path: Path, remote: str, fetched: list) -> None:
    for cache in (RangeCache(str(tmp_path), 10**6), RangeCache(str(tmp_path), 10**6)):
        assert cache.read(remote, 100, 50) == DATA[100:150]
        assert cache.read(remote, -20, None) == DATA[-20:]
    assert len(fetched) == 2


def test_ranks_that_want_the_same_range_fetch_it_once(
    tmp_path: Path, remote: str, fetched: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = storage.read_range

    def slow(uri: str, start: int, length: int | None) -> bytes:
        time.sleep(0.2)
        return counting(uri, start, length)

    monkeypatch.setattr(storage, "read_range", slow)
    caches = [RangeCache(str(tmp_path), 10**6) for _ in range(4)]
    threads = [threading.Thread(target=cache.read, args=(remote, 0, 10)) for cache in caches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 1


def test_the_bound_holds_and_what_is_used_stays(tmp_path: Path, remote: str) -> None:
    cache = RangeCache(str(tmp_path), 8000)
    for number in range(100):
        cache.read(remote, number, 1000)
        os.utime(stored(tmp_path)[0])  # not all of one second
        assert cache.read(remote, 0, 1000) == DATA[:1000]
    assert sum(path.stat().st_size for path in stored(tmp_path)) <= 8000 + 8000 // 16 + 1000


def test_partial_files_of_killed_writers_go(tmp_path: Path, remote: str) -> None:
    cache = RangeCache(str(tmp_path), 10**6)
    cache.read(remote, 0, 10)
    [path] = stored(tmp_path)
    left = path.with_name(f"{path.name}.partial-12345678")
    left.write_bytes(b"half")
    cache.clean()
    assert left.exists(), "its writer may be alive"
    os.utime(left, (0, 0))
    cache.clean()
    assert stored(tmp_path) == [path]


HOLDER = """
import sys, time
from pipeline import storage
from pipeline.loader.cache import RangeCache
def hang(uri, start, length):
    print("fetching", flush=True)
    time.sleep(600)
storage.read_range = hang
RangeCache(sys.argv[1], 10**6).read("memory://bucket/file.bin", 0, 10)
"""


def test_a_killed_fetch_leaves_no_lock(tmp_path: Path, remote: str) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "fetching\n"
    found: list[bytes] = []
    cache = RangeCache(str(tmp_path), 10**6)
    waiting = threading.Thread(target=lambda: found.append(cache.read(remote, 0, 10)), daemon=True)
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive(), "the lock does not hold"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    waiting.join(30)
    assert found == [DATA[:10]]


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, remote: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: str, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    cache = RangeCache(str(tmp_path), 10**6)
    monkeypatch.setattr(storage, "write_scratch", full)
    for start in (0, 1, 2):
        assert cache.read(remote, start, 10) == DATA[start : start + 10]
    assert len(caplog.records) == 1
    assert "No space left" in caplog.text


def test_a_cache_whose_folder_has_gone_is_done_without(
    tmp_path: Path, remote: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache = RangeCache(str(tmp_path / "cache"), 10**6)
    shutil.rmtree(tmp_path / "cache")
    for start in (0, 1):
        assert cache.read(remote, start, 10) == DATA[start : start + 10]
    assert len(caplog.records) == 1


def test_a_remote_read_is_tried_again(
    tmp_path: Path, remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    class StoreError(Exception):
        """As botocore has: no OSError."""

    fails = iter([ConnectionResetError("reset"), TimeoutError("slow"), StoreError("closed")])
    read = MemoryFileSystem.cat_file

    def flaky(self: object, path: str, **options: object) -> bytes:
        if (error := next(fails, None)) is not None:
            raise error
        return read(self, path, **options)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", flaky)
    monkeypatch.setattr(storage, "_RETRY_PAUSES_S", (0.0, 0.0, 0.0))
    assert RangeCache(str(tmp_path), 10**6).read(remote, 5, 5) == DATA[5:10]
    with pytest.raises(FileNotFoundError):
        storage.read_range("memory://bucket/none", 0, 5)


def test_a_loader_reads_remote_rows_through_it_and_mends_a_damaged_copy(
    tmp_path: Path, fetched: list
) -> None:
    random = np.random.default_rng(0)
    blocks = [
        pack_documents([random.integers(1, 999, 16).astype(np.uint16) for _ in range(40)], 16)
        for _ in range(3)
    ]
    local = write_packed(tmp_path / "rows", {"a": blocks}, 4)
    uri = "memory://bucket/rows"
    fsspec.filesystem("memory").put(f"{tmp_path}/rows/", f"{uri}/", recursive=True)
    cache = RangeCache(str(tmp_path / "cache"), 10**6)
    schedule = plan_schedule(MixtureConfig(), local.sizes, 1000, seed=0)

    def rows_of(folder: str, reader: RangeCache | None) -> np.ndarray:
        loader = Loader(open_rows(folder, reader=reader), schedule, window_frames=5, num_threads=0)
        return loader.rows(0, 200).input_ids

    expected = rows_of(local.folder, None)
    np.testing.assert_array_equal(rows_of(uri, cache), expected)
    num_fetched = len(fetched)
    np.testing.assert_array_equal(rows_of(uri, cache), expected)
    assert len(fetched) == num_fetched, "the second pass should have come from the cache"
    for path in stored(tmp_path / "cache"):
        if path.stat().st_size < 300:  # frames, not tables
            path.write_bytes(path.read_bytes()[::-1])
    np.testing.assert_array_equal(rows_of(uri, cache), expected)
    assert len(fetched) > num_fetched
    for path in stored(tmp_path / "cache"):
        path.write_bytes(b"")  # as after a power cut: frames and seek tables
    np.testing.assert_array_equal(rows_of(uri, cache), expected)
    other = [random_rows(40, 16, seed) for seed in range(3)]
    again = write_packed(tmp_path / "again", {"a": other}, 4)
    fsspec.filesystem("memory").put(f"{again.folder}/", f"{uri}/", recursive=True)
    np.testing.assert_array_equal(rows_of(uri, cache), rows_of(again.folder, None))
    with fsspec.open(f"{uri}/a/train/part-00000001.rows.zst", "r+b") as file:
        file.write(b"\0" * 40)
    with pytest.raises(InputError, match=r"part-00000001\.rows\.zst: frame 0 is damaged"):
        rows_of(uri, RangeCache(str(tmp_path / "other"), 10**6))
