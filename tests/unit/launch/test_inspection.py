"""`ipt inspect`: what a shard holds, and that an empty one is empty."""

from pathlib import Path

import pytest

from launch.inspection import inspect_lines
from pipeline.errors import InputError
from pipeline.shards import write_shard


def shard_of(folder: Path, *records: object) -> str:
    with write_shard(str(folder), "part.jsonl.zst") as shard:
        for record in records:
            shard.write(record)
    return str(folder / "part.jsonl.zst")


def test_records_are_numbered_and_only_as_many_as_asked_for(tmp_path: Path) -> None:
    path = shard_of(tmp_path, {"reason": "ungrounded"}, {"reason": "refusal"})
    shown = "\n".join(inspect_lines(path, 1))
    assert shown.startswith("--- record 0\n")
    assert "ungrounded" in shown
    assert "refusal" not in shown


def test_an_empty_shard_says_so(tmp_path: Path) -> None:
    path = shard_of(tmp_path)
    assert list(inspect_lines(path, 3)) == [f"{path}: no records"]


def test_what_is_no_shard_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="not a shard"):
        list(inspect_lines(str(tmp_path / "notes.txt"), 3))
