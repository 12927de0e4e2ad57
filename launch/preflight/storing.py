"""Can stages commit in the run's folder: write, refuse a second writer, rename, lock?"""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

from launch.preflight.findings import Check, Finding, ok, problem, refusal
from launch.preflight.subject import Subject
from launch.stages import require_local
from pipeline import storage
from pipeline.errors import BusyError, InputError

_FIRST, _SECOND = b"first", b"second"
_OF_TRAINING = ("train", "export", "eval")


def storage_checks(subject: Subject) -> Iterator[Check]:
    """A check of the run's folder, unless the run is complete."""
    if subject.pending:
        yield Check("storage", lambda: _look(subject))


def _look(subject: Subject) -> Iterator[Finding]:
    root = subject.config.folder.root
    if later := [name for name in subject.pending if name in _OF_TRAINING]:
        try:
            require_local(subject.invocation, later[0])
        except InputError as error:
            yield refusal("storage", str(error))
    yield from _commits(root)
    if storage.is_local(root) and Path(root, ".lock").exists():
        try:
            with storage.exclusive(root):
                pass
        except BusyError as error:
            yield problem("storage", str(error), "wait for that run, stop it, or change run.dir")


def _commits(root: str) -> Iterator[Finding]:
    """Do what stages do, in a folder of our own that goes again."""
    try:
        with probe_folder(root) as folder:
            name = storage.join(folder, "probe")
            wins = [storage.create(name, _FIRST), storage.create(name, _SECOND)]
            written = storage.read_bytes(name)
            storage.write_atomic(storage.join(folder, "renamed"), _SECOND)
            listed = storage.list_files(folder)
            with storage.exclusive(storage.join(folder, "locked")):
                pass
    except PermissionError as error:
        remedy = "let this user write there, check the credentials, or change run.dir"
        yield problem("storage", f"run.dir ({root}) cannot be written: {error}", remedy)
    except OSError as error:
        remedy = "make room or mount it for writing, or change run.dir to a folder that can be used"
        yield problem("storage", f"run.dir ({root}) cannot be used: {error}", remedy)
    except Exception as error:  # noqa: BLE001 - stores have errors of their own
        remedy = "check bucket, endpoint and credentials of that store, or change run.dir"
        found = f"run.dir ({root}) cannot be used: {type(error).__name__}: {error}"
        yield problem("storage", found, remedy)
    else:
        if wins != [True, False] or written != _FIRST:
            yield problem(
                "storage",
                f"run.dir ({root}): a file could be created twice, and two workers would write "
                f"over each other",
                "use a store that creates an object only if it is not there (S3, GCS, Azure), or "
                "a file system with hard links",
            )
        elif sorted(listed) != ["probe", "renamed"]:
            found = f"run.dir ({root}): two files were written, and {listed} is listed"
            yield problem("storage", found, "use a store whose listings are up to date")
        else:
            done = "files can be created once, replaced, listed and removed"
            yield ok("storage", f"run.dir ({root}): {done}")


@contextlib.contextmanager
def probe_folder(root: str) -> Iterator[str]:
    """A folder below `root` for trials; neither it nor what had to be made for it stays."""
    home = root
    if storage.is_local(root):
        path = Path(root.removeprefix("file://"))
        home = str(next(each for each in (path, *path.parents) if each.exists()))
    folder = storage.join(home, f".ipt-preflight-{uuid.uuid4().hex[:12]}")
    try:
        yield folder
    finally:
        storage.remove_tree(folder)
