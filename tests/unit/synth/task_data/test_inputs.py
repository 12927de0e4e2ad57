"""Inputs of task data: one object over many lines, JSON lines, arrays, folders of stages."""

import gzip
import json
from pathlib import Path

import pytest

from pipeline.contracts import Chain, Pair, Shot
from pipeline.errors import InputError
from pipeline.opening import open_stage
from pipeline.shards import write_shard
from pipeline.stage import PartCommit, read_manifest
from synth.task_data.config import TaskSourceConfig
from synth.task_data.inputs import list_task_inputs, read_task_records

DOCUMENT = {"version": "1", "data": [{"a": 1}, {"a": 2}]}


def records(*paths: Path) -> list[tuple[int, object]]:
    source = TaskSourceConfig(inputs=tuple(map(str, paths)), format="squad")
    files, keys = list_task_inputs(source)
    assert keys == []
    return [
        (record.line, record.value or record.problem)
        for file in files
        for record in read_task_records(source, file)
    ]


@pytest.mark.parametrize("indent", [None, 1])
def test_one_object_is_one_record(tmp_path: Path, indent: int | None) -> None:
    data = json.dumps(DOCUMENT, indent=indent).encode()
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + data + b"\n")
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(data))
    assert records(tmp_path / "a.json") == [(1, DOCUMENT)]
    assert records(tmp_path / "b.json.gz") == [(1, DOCUMENT)]


def test_lines_and_arrays_stay_records_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"n": 1}\n\n{"n": 2}\n')
    (tmp_path / "b.json").write_text('[\n{"n": 3},\n{"n": 4}]')
    (tmp_path / "c.json").write_text('{"n": \n{"n": 5}\n')
    (tmp_path / "d.jsonl").write_text('{"n": 6}\n')
    assert records(*sorted(tmp_path.iterdir())) == [
        (1, {"n": 1}),
        (3, {"n": 2}),
        (1, {"n": 3}),
        (2, {"n": 4}),
        (1, "malformed_json"),
        (2, {"n": 5}),
        (1, {"n": 6}),
    ]


def test_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text('{"n": 6}\n{"n": 7}\n')
    chosen = {"path": "json", "data_files": [str(tmp_path / "d.jsonl")]}
    source = TaskSourceConfig.model_validate({"dataset": chosen, "format": "squad"})
    ((file,), _) = list_task_inputs(source)
    assert [record.value for record in read_task_records(source, file)] == [{"n": 6}, {"n": 7}]


def write_stage(folder: str, *, is_complete: bool) -> None:
    stage = open_stage(folder, "filter", {}, {})
    for number in range(2):
        part = f"s/part-{number:08d}"
        chain = Chain(f"c{number}", "s", (Shot("d", "T", (Pair("Q?", "A"),)),), {})
        entries = []
        for name in (f"{part}.jsonl.zst", f"dropped/{part}.jsonl.zst"):
            with write_shard(folder, name) as shard:
                shard.write(chain)
            entries.append(shard.entry())
        stage.commit(PartCommit(part=part, files=entries, records_in=1, records_out=1))
    if is_complete:
        stage.close()
    with write_shard(folder, "s/part-00000002.jsonl.zst") as shard:
        shard.write(chain)


def test_of_a_stage_only_what_is_committed(tmp_path: Path) -> None:
    folder = str(tmp_path / "filtered")
    write_stage(folder, is_complete=True)
    source = TaskSourceConfig(inputs=(folder,), format="chains")
    files, keys = list_task_inputs(source)
    found = [record.value["id"] for file in files for record in read_task_records(source, file)]
    assert found == ["c0", "c1"]
    assert keys == [read_manifest(folder).input_key()]
    by_glob = TaskSourceConfig(inputs=(f"{folder}/s/*.jsonl.zst",), format="chains")
    assert len(list_task_inputs(by_glob)[0]) == 3


def test_a_stage_that_is_not_complete(tmp_path: Path) -> None:
    folder = str(tmp_path / "filtered")
    write_stage(folder, is_complete=False)
    with pytest.raises(InputError, match="not complete"):
        list_task_inputs(TaskSourceConfig(inputs=(folder,), format="chains"))
