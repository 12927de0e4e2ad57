"""Committing and closing a stage's folder."""

from pathlib import Path

import pytest

from pipeline import storage
from pipeline.errors import InputError, StaleStageError
from pipeline.opening import open_stage
from pipeline.shards import read_lines, write_shard
from pipeline.stage import (
    PartCommit,
    committed_names,
    read_commit,
    read_commits,
    read_manifest,
)


def write_part(stage, number: int, *texts: str) -> None:
    with write_shard(stage.folder, f"part-{number:05d}.jsonl.zst") as shard:
        for text in texts:
            shard.write({"text": text})
    count = len(texts)
    stage.commit(
        PartCommit(
            part=f"part-{number:05d}", files=[shard.entry()], records_in=count, records_out=count
        )
    )


def test_manifest_sums_the_parts(tmp_path: Path) -> None:
    stage = open_stage(str(tmp_path), "demo", {"a": 1}, {})
    write_part(stage, 0, "x", "y")
    write_part(stage, 1, "z")
    with pytest.raises(InputError, match="not complete"):
        read_manifest(str(tmp_path))
    manifest = stage.close()
    assert read_manifest(str(tmp_path)) == manifest
    assert manifest.records_out == 3
    assert [entry.records for entry in manifest.parts] == [2, 1]


def test_an_unbalanced_commit_is_a_bug(tmp_path: Path) -> None:
    stage = open_stage(str(tmp_path), "demo", {}, {})
    with pytest.raises(AssertionError):
        stage.commit(PartCommit(part="part-00000", files=[], records_in=2, records_out=1))


def test_a_block_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def fail_while_writing() -> None:
        with write_shard(str(tmp_path), "part-00000.jsonl.zst") as shard:
            shard.write({"text": "x"})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_while_writing()
    assert storage.list_files(str(tmp_path)) == []


def test_an_uncommitted_part_does_not_count_and_partials_go(tmp_path: Path) -> None:
    stage = open_stage(str(tmp_path), "demo", {}, {})
    with write_shard(stage.folder, "part-00000.jsonl.zst") as shard:
        shard.write({"text": "x"})
    (tmp_path / "part-00001.jsonl.zst.partial-abcd1234").write_bytes(b"cut off")
    assert read_commits(str(tmp_path)) == {}
    stage.close()
    assert not list(tmp_path.glob("*.partial-*"))


def test_a_stage_does_not_close_without_its_parts(tmp_path: Path) -> None:
    stage = open_stage(str(tmp_path), "demo", {}, {})
    write_part(stage, 0, "x")
    with pytest.raises(InputError, match="1 parts are not committed, part-00001"):
        stage.close(expected_parts=["part-00000", "part-00001"])


def test_work_on_an_input_made_anew_is_refused(tmp_path: Path) -> None:
    first = open_stage(str(tmp_path / "docs"), "ingest", {}, {}).close()
    chains = open_stage(str(tmp_path / "aug"), "synth", {}, {"documents": first.input_key()})
    manifest = chains.close()
    manifest.require_input("documents", first)
    storage.remove_tree(str(tmp_path / "docs"))
    anew = open_stage(str(tmp_path / "docs"), "ingest", {}, {}).close()
    with pytest.raises(
        StaleStageError, match=r"made anew after the synth .*`ipt run` does it again"
    ):
        manifest.require_input("documents", anew)


def test_a_truncated_shard_is_named(tmp_path: Path) -> None:
    with write_shard(str(tmp_path), "part-00000.jsonl.zst") as shard:
        for number in range(1000):
            shard.write({"text": f"{number} {number * 7919 % 1000}"})
    path = tmp_path / "part-00000.jsonl.zst"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"part-00000\.jsonl\.zst.*truncated"):
        list(read_lines(str(path)))


def test_any_fsspec_uri_will_do() -> None:
    stage = open_stage("memory://run/demo", "demo", {}, {})
    write_part(stage, 0, "x")
    stage.close()
    assert read_manifest("memory://run/demo").records_out == 1
    assert list(read_lines("memory://run/demo/part-00000.jsonl.zst")) == [b'{"text":"x"}\n']


def attempt(stage, text: str, suffix: str) -> bool:
    """One of several attempts at a part, to a file of its own."""
    with write_shard(stage.folder, f"s/part-00000{suffix}.jsonl.zst") as shard:
        shard.write({"text": text})
    return stage.commit_once(
        PartCommit(part="s/part-00000", files=[shard.entry()], records_in=1, records_out=1)
    )


@pytest.mark.parametrize("root", ["{tmp}", "memory://once"])
def test_of_several_attempts_at_a_part_the_first_counts(tmp_path: Path, root: str) -> None:
    folder = root.format(tmp=tmp_path)
    stage = open_stage(folder, "demo", {}, {})
    assert attempt(stage, "first", "-aa")
    assert not attempt(stage, "second", "-bb")
    with write_shard(folder, "s/part-00000-cc.jsonl.zst") as shard:  # killed before its commit
        shard.write({"text": "third"})
    manifest = stage.close()
    assert [entry.name for entry in manifest.parts] == ["s/part-00000-aa.jsonl.zst"]
    assert read_commit(folder, "s/part-00000").shard == "s/part-00000-aa.jsonl.zst"
    shards = [name for name in storage.list_files(folder) if name.endswith(".zst")]
    assert shards == ["s/part-00000-aa.jsonl.zst"]


def test_runs_that_share_a_folder_agree_on_one_instance(tmp_path: Path) -> None:
    first, second = (open_stage("memory://share/demo", "demo", {"a": 1}, {}) for _ in range(2))
    assert first.identity == second.identity
    assert attempt(first, "x", "-aa")
    assert first.close() == second.close()


def test_names_of_commits_are_known_without_opening_them(tmp_path: Path) -> None:
    stage = open_stage(str(tmp_path), "demo", {}, {})
    write_part(stage, 0, "x")
    (tmp_path / "part-00001.json").write_text("not even JSON")
    assert committed_names(str(tmp_path)) == ["part-00000", "part-00001"]
