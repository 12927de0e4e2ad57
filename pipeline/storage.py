"""Files on any fsspec URI: whole-file atomic writes, listing, removal, one writer per folder.

A local file is written beside its target, flushed to disk and renamed; an object store makes an
upload visible only when it is complete. Either way a reader sees the old file, the new one or none.
"""

import contextlib
import fcntl
import hashlib
import io
import os
import posixpath
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import fsspec

from pipeline.errors import BusyError

_PARTIAL_MARK = ".partial-"
_LOCK_POLL_S = 0.2


def join(folder: str, *names: str) -> str:
    """Join path or URI parts with forward slashes."""
    return posixpath.join(folder, *names)


def is_local(uri: str) -> bool:
    """Whether `uri` lies on this machine's file system."""
    return "://" not in uri or uri.startswith("file://")


def open_read(uri: str) -> IO[bytes]:
    """Open a file for buffered binary reading.

    Raises:
        FileNotFoundError: no such file.
    """
    filesystem, path = fsspec.core.url_to_fs(uri)
    return cast("IO[bytes]", filesystem.open(path, "rb"))


def read_bytes(uri: str) -> bytes:
    """Read a whole file."""
    with open_read(uri) as file:
        return file.read()


def write_atomic(uri: str, data: bytes) -> None:
    """Write a whole file so that it is there completely or not at all."""
    with open_atomic(uri) as file:
        file.write(data)


@contextlib.contextmanager
def open_atomic(uri: str) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears under its name only when the block ends well."""
    filesystem, path = fsspec.core.url_to_fs(uri)
    filesystem.makedirs(posixpath.dirname(path), exist_ok=True)
    partial = f"{path}{_PARTIAL_MARK}{uuid.uuid4().hex[:8]}"
    try:
        with filesystem.open(partial, "wb") as file:
            yield cast("IO[bytes]", file)
            file.flush()
            if is_local(uri):
                os.fsync(file.fileno())
        if is_local(uri):
            os.replace(partial, path)
            _sync_folder(os.path.dirname(path))
        else:
            filesystem.mv(partial, path)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            filesystem.rm(partial)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = path  # "No space left on device" alone would not say where
        raise


def _sync_folder(folder: str) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def exists(uri: str) -> bool:
    """Whether a file or folder is there."""
    filesystem, path = fsspec.core.url_to_fs(uri)
    return bool(filesystem.exists(path))


def size_of(uri: str) -> int:
    """Size of a file in bytes."""
    filesystem, path = fsspec.core.url_to_fs(uri)
    return int(filesystem.size(path))


def sha256_of(uri: str) -> str:
    """Sha256 of a file's content, in hex."""
    with open_read(uri) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def list_files(folder: str) -> list[str]:
    """Sorted paths of all files below `folder`, relative to it; none if there is no folder."""
    filesystem, root = fsspec.core.url_to_fs(folder)
    if not filesystem.isdir(root):
        return []
    root = root.rstrip("/")
    return sorted(cast("str", path)[len(root) + 1 :] for path in filesystem.find(root))


def remove_file(uri: str) -> None:
    """Remove a file if it is there."""
    filesystem, path = fsspec.core.url_to_fs(uri)
    with contextlib.suppress(FileNotFoundError):
        filesystem.rm(path)


def remove_tree(folder: str) -> None:
    """Remove a folder with everything in it, if it is there."""
    filesystem, path = fsspec.core.url_to_fs(folder)
    if not filesystem.exists(path):
        return
    if is_local(folder):  # renamed first: a kill in the middle leaves no half of it behind
        doomed = f"{path.rstrip('/')}{_PARTIAL_MARK}removed-{uuid.uuid4().hex[:8]}"
        os.replace(path, doomed)
        path = doomed
    filesystem.rm(path, recursive=True)


def is_partial(name: str) -> bool:
    """Whether `name` is what `open_atomic` leaves behind when its process is killed."""
    return _PARTIAL_MARK in name


@contextlib.contextmanager
def exclusive(folder: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold a folder against other `ipt` processes of this machine.

    The kernel drops the lock with its process, so a killed run leaves nothing stale. Object stores
    have no such lock: there, part commits are atomic and the last writer wins.

    Args:
        folder: path or URI; made if it is not there.
        wait_s: seconds to wait for a holder that is about to end.

    Raises:
        BusyError: another live process holds the folder.
    """
    if not is_local(folder):
        yield
        return
    local = Path(folder.removeprefix("file://"))
    local.mkdir(parents=True, exist_ok=True)
    with open(local / ".lock", "a+", encoding="ascii") as lock:
        _acquire(lock, folder, time.monotonic() + wait_s)
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _acquire(lock: IO[Any], folder: str, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                break
            time.sleep(_LOCK_POLL_S)
    lock.seek(0)
    holder = lock.read().strip() or "unknown"
    raise BusyError(
        f"{folder}: another run (process {holder}) is working in this folder; "
        f"wait for it, stop it, or choose another run folder"
    )


class HashingWriter(io.RawIOBase):
    """Pass bytes through to a file while counting and hashing them (sha256)."""

    def __init__(self, target: IO[bytes]) -> None:
        """Wrap `target`, which the caller opens and closes."""
        self._target = target
        self._digest = hashlib.sha256()
        self.num_bytes = 0

    def writable(self) -> bool:
        """Report that this stream is for writing."""
        return True

    def write(self, data: Any) -> int:
        """Write all of `data`; return its length in bytes."""
        self._target.write(data)
        self._digest.update(data)
        size = len(memoryview(data).cast("B"))
        self.num_bytes += size
        return size

    def hexdigest(self) -> str:
        """Sha256 of everything written so far, in hex."""
        return self._digest.hexdigest()
