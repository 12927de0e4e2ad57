"""Files on any fsspec URI: whole-file atomic writes, listing, removal, one writer per folder.

A local file is written beside its target, flushed to disk and renamed; for an object store it is
written to a temporary local file and uploaded whole. Either way a reader sees the old file, the new
one or none. `create` is the one race that has a winner: of several writers exactly one succeeds.
"""

import contextlib
import errno
import fcntl
import hashlib
import io
import os
import posixpath
import random
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import fsspec

from pipeline.errors import BusyError, InputError
from pipeline.redaction import refuse_credentials

_PARTIAL_MARK = ".partial-"
_LOCK_POLL_S = 0.2
_RETRY_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)


def join(folder: str, *names: str) -> str:
    """Join path or URI parts with forward slashes."""
    return posixpath.join(folder, *names)


def is_local(uri: str) -> bool:
    """Whether `uri` lies on this machine's file system."""
    return "://" not in uri or uri.startswith("file://")


def locate(uri: str) -> tuple[Any, str]:
    """The fsspec file system of a URI, and the path in it.

    Listings are never taken from a cache: other machines write below the same folders.

    Raises:
        InputError: the URI holds credentials, which errors of stores would repeat.
    """
    options = {}
    if not is_local(uri):
        refuse_credentials({"uri": uri})
        options["use_listings_cache"] = False
    return cast("tuple[Any, str]", fsspec.core.url_to_fs(uri, **options))


def open_read(uri: str) -> IO[bytes]:
    """Open a file for buffered binary reading.

    Raises:
        FileNotFoundError: no such file.
    """
    filesystem, path = locate(uri)
    return cast("IO[bytes]", filesystem.open(path, "rb"))


def read_bytes(uri: str) -> bytes:
    """Read a whole file."""
    with open_read(uri) as file:
        return file.read()


def read_range(uri: str, start: int, length: int | None) -> bytes:
    """Read `length` bytes from `start` on (counted from the end if negative); None: all the rest.

    A remote file is asked again, with pauses that double, before an error counts.

    Raises:
        FileNotFoundError: no such file.
        OSError: it cannot be read.
    """
    if is_local(uri):
        with open(uri.removeprefix("file://"), "rb", buffering=0) as file:
            begin = start if start >= 0 else max(0, file.seek(0, os.SEEK_END) + start)
            file.seek(begin)
            return file.read() if length is None else file.read(length)
    filesystem, path = locate(uri)
    end = None if length is None else start + length
    for pause_s in (*_RETRY_PAUSES_S, None):
        try:
            data = bytes(filesystem.cat_file(path, start=start, end=end))
            if length is not None and len(data) < length:
                raise OSError(f"{len(data)} bytes came instead of {length}")
            return data
        except (FileNotFoundError, PermissionError):
            raise
        except Exception as error:  # stores have errors of their own for what networks do
            if pause_s is None:
                raise OSError(f"{uri}: cannot be read: {error}") from error
            time.sleep(pause_s * random.uniform(0.5, 1.5))
    raise AssertionError


def write_atomic(uri: str, data: bytes) -> None:
    """Write a whole file so that it is there completely or not at all."""
    with open_atomic(uri) as file:
        file.write(data)


def write_scratch(path: str, data: bytes) -> None:
    """Write a local file that others see whole or not at all, but that may be lost at a crash."""
    with _partial_file(path) as partial:
        with open(partial, "wb") as file:
            file.write(data)
        os.replace(partial, path)


def create(uri: str, data: bytes) -> bool:
    """Write a whole file unless one is there already, in one indivisible step.

    Returns:
        Whether `data` is what stands there now; False: another writer was first, and its file
        stays. A write that the network repeated meets its own first try, which counts as success:
        whoever must know itself from others writes something that no other does.
    """
    try:
        _write_new(uri, data)
    except OSError:  # stores differ in how they say that there is one
        if not exists(uri):
            raise
        return read_bytes(uri) == data
    return True


def _write_new(uri: str, data: bytes) -> None:
    """Write a file.

    Raises:
        OSError: there is one already, or it cannot be written.
    """
    filesystem, path = locate(uri)
    if not is_local(uri):
        filesystem.pipe_file(path, data, mode="create")
        return
    with _partial_file(path) as partial:
        _write_through(partial, data)
        os.link(partial, path)  # unlike a rename, refuses to replace
        _sync_folder(os.path.dirname(path))


@contextlib.contextmanager
def open_atomic(uri: str) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears under its name only when the block ends well."""
    filesystem, path = locate(uri)
    if not is_local(uri):
        with tempfile.NamedTemporaryFile(prefix="ipt-upload-") as file:
            yield cast("IO[bytes]", file)
            file.flush()
            filesystem.put_file(file.name, path)
        return
    with _partial_file(path) as partial:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _sync_folder(os.path.dirname(path))


@contextlib.contextmanager
def _partial_file(path: str) -> Iterator[str]:
    """A name beside `path` for its content while it is being written; nothing stays under it."""
    partial = f"{path}{_PARTIAL_MARK}{uuid.uuid4().hex[:8]}"
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        yield partial
    except OSError as error:
        if error.filename is None:
            error.filename = path  # "No space left on device" alone would not say where
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)


def _write_through(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: str) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def no_link(path: str, flags: int) -> int:
    """An opener for files that are appended to: never through a link that a folder came with.

    Raises:
        InputError: `path` is a link.
    """
    try:
        return os.open(path, flags | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise InputError(
            f"{path} is a link to {os.path.realpath(path)}, which would be written to; remove it"
        ) from error


def exists(uri: str) -> bool:
    """Whether a file or folder is there."""
    filesystem, path = locate(uri)
    return bool(filesystem.exists(path))


def size_of(uri: str) -> int:
    """Size of a file in bytes."""
    filesystem, path = locate(uri)
    return int(filesystem.size(path))


def sha256_of(uri: str) -> str:
    """Sha256 of a file's content, in hex."""
    with open_read(uri) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def list_files(folder: str) -> list[str]:
    """Sorted paths of all files below `folder`, relative to it; none if there is no folder."""
    filesystem, root = locate(folder)
    root = root.rstrip("/")
    if is_local(folder):  # by names alone: fsspec would ask for the size of every file
        paths: Iterable[str] = (
            os.path.join(where, name) for where, _, names in os.walk(root) for name in names
        )
    else:
        paths = filesystem.find(root)
    return sorted(path[len(root) + 1 :] for path in paths)


def remove_file(uri: str) -> None:
    """Remove a file if it is there."""
    filesystem, path = locate(uri)
    with contextlib.suppress(FileNotFoundError):
        filesystem.rm(path)


def remove_tree(folder: str) -> None:
    """Remove a folder with everything in it, if it is there; of a link, the link alone."""
    filesystem, path = locate(folder)
    if is_local(folder) and os.path.islink(path):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    if not filesystem.exists(path):
        return
    with contextlib.suppress(FileNotFoundError):  # another run may be removing it, too
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
    have no such lock: there, runs share the work, as each part can be committed only once.

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
    with open(local / ".lock", "a+", encoding="ascii", opener=no_link) as lock:
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
