"""Input files, whatever their format, as one stream of raw records with file and line.

corpus/*.jsonl.zst ─┐
corpus/*.parquet   ─┼─▶ RawRecord(file, line, value | problem)
data set stream    ─┘
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import orjson

from pipeline import storage
from pipeline.compression import bounded_lines
from pipeline.errors import InputError
from pipeline.ingest.config import SourceConfig
from pipeline.ingest.json_arrays import is_json_array, read_json_array
from pipeline.ingest.parquet import read_parquet
from pipeline.ingest.records import RawRecord, is_nested_too_deep, row_record
from pipeline.pretrained import resolve_package_path

_BOM = b"\xef\xbb\xbf"
_EXCERPT_BYTES = 200


@dataclass(frozen=True, slots=True)
class InputFile:
    """One input file; `size` in bytes (0 for a data set stream)."""

    uri: str
    size: int


def list_inputs(source: SourceConfig) -> list[InputFile]:
    """Expand a source's files, folders and globs, each file once, in name order.

    Raises:
        InputError: a path that is not there, a glob or folder without a readable file, or a file
            of a format we do not read.
    """
    if source.dataset is not None:
        return [InputFile(f"dataset:{source.dataset.path}", 0)]
    files: dict[str, InputFile] = {}
    for pattern in source.inputs:
        for uri in _expand(_absolute(resolve_package_path(pattern)), pattern):
            files[uri] = InputFile(uri, storage.size_of(uri))
    return [files[uri] for uri in sorted(files)]


def describe_inputs(inputs: Mapping[str, Sequence[InputFile]]) -> dict[str, str]:
    """Name, with that of its folder, and size of every input file of every source.

    Enough to notice a changed corpus without reading it, and the same wherever the corpus lies.
    """
    return {
        f"{name}/{number:05d}": f"{'/'.join(file.uri.split('/')[-2:])} ({file.size} bytes)"
        for name, files in inputs.items()
        for number, file in enumerate(files)
    }


def read_records(
    source: SourceConfig, file: InputFile, skip: int, max_bytes: int
) -> Iterator[RawRecord]:
    """Stream the records of one input after the first `skip`.

    Args:
        source: the source `file` belongs to.
        file: one of `list_inputs(source)`.
        skip: records already done.
        max_bytes: a longer line, row or text file comes out as the problem `too_long`.

    Raises:
        DamagedInputError: damaged compressed data or a damaged Parquet file; names file and offset.
    """
    if source.dataset is not None:
        return _read_dataset(source, skip, max_bytes)
    suffix = _format_of(file.uri)
    assert suffix is not None, file
    return _READERS[suffix](file.uri, skip, max_bytes)


def _absolute(path: str) -> str:
    """A local path made absolute, so that one file has one name; any other URI as it is."""
    return path if "://" in path else str(Path(path).expanduser().absolute())


def _expand(path: str, shown: str) -> list[str]:
    try:
        filesystem, root = fsspec.core.url_to_fs(path)
    except (ValueError, ImportError) as error:
        raise InputError(f"input {shown!r}: this kind of URI cannot be opened: {error}") from error
    if filesystem.isfile(root):
        if _format_of(root) is None:
            raise InputError(f"input {shown!r}: cannot read this format; {_KNOWN}")
        return [path]
    is_glob = any(character in root for character in "*?[")
    found = filesystem.glob(root) if is_glob else filesystem.find(root)
    # A .json file among others is mostly a description of them, so it is read when asked for.
    formats = _READERS.keys() if _format_of(root) in _JSON else _READERS.keys() - _JSON
    readable = [
        str(filesystem.unstrip_protocol(name)) if "://" in path else str(name)
        for name in found
        if _format_of(name) in formats and filesystem.isfile(name)
    ]
    if not readable:
        rule = "nothing readable matches" if is_glob or filesystem.exists(root) else "no such path"
        raise InputError(f"input {shown!r}: {rule}; {_KNOWN}")
    return readable


def _format_of(name: str) -> str | None:
    return next((suffix for suffix in _READERS if name.endswith(suffix)), None)


def _read_jsonl(uri: str, skip: int, max_bytes: int) -> Iterator[RawRecord]:
    with storage.open_read(uri) as raw:
        for number, (line, size) in enumerate(bounded_lines(raw, uri, max_bytes), start=1):
            if number <= skip:
                continue
            if size > max_bytes:
                yield RawRecord(uri, number, None, "too_long", _excerpt(line))
            elif content := line.removeprefix(_BOM).strip():
                had_bom = number == 1 and line.startswith(_BOM)
                yield _parse_json(uri, number, content, had_bom=had_bom)
            else:
                yield RawRecord(uri, number, None, "blank_line")


def _parse_json(uri: str, number: int, content: bytes, *, had_bom: bool) -> RawRecord:
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        problem = "malformed_json" if _is_utf8(content) else "invalid_utf8"
        return RawRecord(uri, number, None, problem, _excerpt(content))
    if not isinstance(value, dict):
        return RawRecord(uri, number, None, "not_an_object", _excerpt(content))
    if is_nested_too_deep(value):
        return RawRecord(uri, number, None, "nested_too_deep", _excerpt(content))
    if any(isinstance(field, float) for field in value.values()):
        value = json.loads(content)  # integers beyond 64 bits, which orjson rounds, stay exact
    return RawRecord(uri, number, value, had_bom=had_bom)


def _read_json(uri: str, skip: int, max_bytes: int) -> Iterator[RawRecord]:
    if not is_json_array(uri):
        yield from _read_jsonl(uri, skip, max_bytes)
        return
    for number, (value, size) in enumerate(read_json_array(uri, max_bytes), start=1):
        if number <= skip:
            continue
        if problem := _array_problem(value, size, max_bytes):
            shown = f"{type(value).__name__} of {size:,} characters"
            if problem != "nested_too_deep":  # what is cannot be written out
                shown = str(value)[:_EXCERPT_BYTES]
            excerpt = shown.encode(errors="replace").decode()
            yield RawRecord(uri, number, None, problem, excerpt)
        else:
            yield RawRecord(uri, number, value)


def _array_problem(value: Any, size: int, max_bytes: int) -> str:
    """Why an item of a JSON array is no record; empty if it is one."""
    if size > max_bytes:
        return "too_long"
    if is_nested_too_deep(value):
        return "nested_too_deep"
    if not isinstance(value, dict):
        return "not_an_object"
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, as in a JSON line
        return "malformed_json"
    return ""


def _read_text(uri: str, skip: int, max_bytes: int) -> Iterator[RawRecord]:
    if skip:
        return
    with storage.open_read(uri) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        yield RawRecord(uri, 1, None, "too_long", _excerpt(content))
    elif not _is_utf8(content):
        yield RawRecord(uri, 1, None, "invalid_utf8", _excerpt(content))
    else:
        value = {"text": content.removeprefix(_BOM).decode()}
        yield RawRecord(uri, 1, value, had_bom=content.startswith(_BOM))


def _read_dataset(source: SourceConfig, skip: int, max_bytes: int) -> Iterator[RawRecord]:
    import datasets
    from pyarrow import ArrowException

    assert source.dataset is not None
    chosen = source.dataset
    try:
        stream = datasets.load_dataset(
            chosen.path,
            chosen.name,
            split=chosen.split,
            revision=chosen.revision or None,
            data_files=list(chosen.data_files) or None,
            streaming=True,
        )
    except (ValueError, OSError) as error:
        raise InputError(
            f"dataset {chosen.path!r} cannot be opened: {error}; correct its name, split or files, "
            f"or download it and give its files"
        ) from error
    number = skip
    try:
        for number, value in enumerate(stream.skip(skip), start=skip + 1):
            yield row_record(f"dataset:{chosen.path}", number, dict(value), max_bytes)
    except (TypeError, ArrowException, datasets.exceptions.DatasetsError) as error:
        raise InputError(
            f"dataset {chosen.path!r} cannot be read past record {number:,}: {error}; if columns "
            f"differ in type between its files, download these and give them as `inputs`"
        ) from error


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _excerpt(content: bytes) -> str:
    return content[:_EXCERPT_BYTES].decode(errors="replace")


_JSON = {".json", ".json.gz", ".json.zst"}
_READERS: dict[str, Callable[[str, int, int], Iterator[RawRecord]]] = {
    ".jsonl": _read_jsonl,
    ".jsonl.gz": _read_jsonl,
    ".jsonl.zst": _read_jsonl,
    **dict.fromkeys(sorted(_JSON), _read_json),
    ".parquet": read_parquet,
    ".txt": _read_text,
}
_KNOWN = f"readable are {', '.join(_READERS)}, folders and globs of them (.json by name only)"
