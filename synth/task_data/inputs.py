"""The files of a source, and their raw records; one JSON object over many lines is one record.

train.jsonl, train.parquet, [{...}, ...]   ─▶  as ingest reads them
{                                          ─▶  RawRecord(line=1, value={"data": [...]})
"data": [...]
}
filtered/                                  ─▶  the shards of its committed parts
"""

import json
from collections.abc import Iterator
from typing import Any

import orjson

from pipeline import storage
from pipeline.compression import open_decompressed
from pipeline.errors import DamagedInputError
from pipeline.ingest.config import SourceConfig
from pipeline.ingest.json_arrays import is_json_array
from pipeline.ingest.readers import InputFile, list_inputs, read_records
from pipeline.ingest.records import RawRecord, is_nested_too_deep
from pipeline.pretrained import resolve_package_path
from pipeline.stage import STAGE_FILE, read_commits, read_manifest
from synth.task_data.config import TaskSourceConfig

_MAX_RECORD_BYTES = 2**28
_JSON = (".json", ".json.gz", ".json.zst")


def list_task_inputs(source: TaskSourceConfig) -> tuple[list[InputFile], list[str]]:
    """Expand a source's files, folders and globs, each file once, in name order.

    Returns:
        The files, and the input keys of stages among them (`Manifest.input_key`).

    Raises:
        InputError: a path that is not there, a glob or folder without a readable file, a file of
            a kind we do not read, or a stage that is not complete.
    """
    is_stage = {path: _is_stage(source, path) for path in source.inputs}
    paths = tuple(path for path in source.inputs if not is_stage[path])
    files: dict[str, InputFile] = {}
    if paths or source.dataset is not None:
        reader = SourceConfig(inputs=paths, dataset=source.dataset)
        files = {file.uri: file for file in list_inputs(reader)}
    keys = []
    for path in filter(is_stage.__getitem__, source.inputs):
        folder = resolve_package_path(path)
        keys.append(read_manifest(folder).input_key())
        for commit in read_commits(folder).values():
            uri = storage.join(folder, commit.shard)
            files[uri] = InputFile(uri, commit.files[0].bytes)
    return [files[uri] for uri in sorted(files)], keys


def read_task_records(source: TaskSourceConfig, file: InputFile) -> Iterator[RawRecord]:
    """Stream the records of one of `list_task_inputs(source)`; blank lines are none.

    Raises:
        DamagedInputError: damaged compressed data or a damaged Parquet file; names file and offset.
    """
    if source.dataset is None and file.uri.endswith(_JSON):
        document = _read_document(file.uri)
        if document is not None:
            yield RawRecord(file.uri, 1, document)
            return
    reader = SourceConfig(
        inputs=() if source.dataset is not None else (file.uri,), dataset=source.dataset
    )
    for record in read_records(reader, file, 0, _MAX_RECORD_BYTES):
        if record.problem != "blank_line":
            yield record


def _is_stage(source: TaskSourceConfig, path: str) -> bool:
    return source.format == "chains" and storage.exists(
        storage.join(resolve_package_path(path), STAGE_FILE)
    )


def _read_document(uri: str) -> dict[str, Any] | None:
    """The one object that a file of many lines holds; None for JSON lines or an array.

    Raises:
        DamagedInputError: it is longer than what is read of a record.
    """
    if is_json_array(uri):
        return None
    with storage.open_read(uri) as raw:
        stream = open_decompressed(raw, uri)
        first = stream.readline(_MAX_RECORD_BYTES)
        if _is_json(first):
            return None
        content = first + stream.read(max(0, _MAX_RECORD_BYTES - len(first)))
        if stream.read(1):
            raise DamagedInputError(
                f"{uri}: an object over many lines has more than {_MAX_RECORD_BYTES:,} bytes; "
                f"leave the file out, or write it as JSON lines"
            )
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and not is_nested_too_deep(value) else None


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True
