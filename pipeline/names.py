"""Names that one file gives to others: a manifest, sidecar or marker may come from anywhere.

    sotu/part-00000000.jsonl.zst                  fine: below the folder that the manifest is of
    ../../etc/passwd, /etc/passwd, s3://b/key     lead out of it: the record that says so is refused
    sotu/part-00000000.jsonl.zst -> /home/me/x    a link that leads out: refused before it is opened

A field that names a file is a `RelativeName` or a `FileName`, so that no reader can forget to ask.
"""

import os
import re
import stat
from collections.abc import Iterable
from typing import Annotated, TypeVar

from pydantic import AfterValidator, ValidationError

from pipeline import storage
from pipeline.config import StrictConfig
from pipeline.errors import InputError

_RecordT = TypeVar("_RecordT", bound=StrictConfig)
# A colon stands in schemes and in fsspec's chains (`zip://a::b`), a backslash in paths of Windows.
_REFUSED = re.compile(r"[\x00-\x1f\x7f-\x9f\\:]")
_LONGEST = 1024


def _relative(name: str) -> str:
    is_plain = _REFUSED.search(name) is None and len(name) <= _LONGEST
    if not is_plain or any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError("must be a path below the folder it stands in, without .. and schemes")
    return name


def _single(name: str) -> str:
    if "/" in _relative(name):
        raise ValueError("must be the name of a file, without folders")
    return name


RelativeName = Annotated[str, AfterValidator(_relative)]
"""Path of a file or folder, with forward slashes, that cannot lead out of the folder it is in."""
FileName = Annotated[str, AfterValidator(_single)]
"""Name of a file or folder in the very folder that the record is of."""


def read_record(kind: type[_RecordT], uri: str, remedy: str) -> _RecordT:
    """Read a JSON file as one of our records.

    Args:
        kind: what it is.
        uri: the file.
        remedy: what helps if it is none, for people.

    Raises:
        FileNotFoundError: no such file.
        InputError: names the file, and each field with the value found and its rule.
    """
    data = storage.read_bytes(uri)
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        shown = "; ".join(_explain(dict(problem)) for problem in error.errors()[:3])
        raise InputError(f"{uri} cannot be read as a {kind.__name__}: {shown}; {remedy}") from error


def _explain(problem: dict[str, object]) -> str:
    location = problem["loc"]
    assert isinstance(location, tuple)
    field = ".".join(map(str, location))
    found = "" if isinstance(problem["input"], dict) else f" = {str(problem['input'])[:200]!r}"
    rule = str(problem["msg"]).removeprefix("Value error, ")
    return f"{field}{found}: {rule}" if field else rule


def require_inside(folder: str, names: Iterable[str]) -> None:
    """Refuse files that are links out of a folder, and what is no file at all, such as a pipe.

    Costs one look at each file. A file that is not there passes, and so does an object store, which
    has no links.

    Args:
        folder: path or URI.
        names: each a `RelativeName`.

    Raises:
        InputError: names the file and where it leads.
    """
    if not storage.is_local(folder):
        return
    local = folder.removeprefix("file://")
    root = os.path.realpath(local)
    is_within: dict[str, bool] = {}
    for name in names:
        path = os.path.join(local, name)
        parent = os.path.dirname(path)
        if parent not in is_within:
            is_within[parent] = _is_below(os.path.realpath(parent), root)
        try:
            mode = os.lstat(path).st_mode
            is_inside = is_within[parent]
            if stat.S_ISLNK(mode):
                is_inside = is_inside and _is_below(os.path.realpath(path), root)
                mode = os.stat(path).st_mode
        except FileNotFoundError:
            continue
        if not is_inside:
            raise InputError(
                f"{path} is a link out of its folder, to {os.path.realpath(path)}; what a folder "
                f"holds must lie in it: copy it with what its links lead to (cp -rL)"
            )
        if not stat.S_ISREG(mode):
            raise InputError(f"{path} is no regular file; take it out, or copy the folder anew")


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")
