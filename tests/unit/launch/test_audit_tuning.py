"""The audit of a tuning run follows each example of the task data into the rows."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from launch.audit import AuditResult, audit_run
from pipeline.packing.config import PackConfig
from pipeline.run_folder import RunFolder
from pipeline.shards import read_lines, write_shard
from pipeline.stage import PartCommit, StageFolder, find_identity, read_commit, read_manifest
from pipeline.storage import join, remove_file
from tests.tuning_run import pack_tasks, write_task_data, write_tasks

PART = "race-tasks/part-00000000"
CONTEXTS = {"race": [f"race {number}" for number in range(9)], "squad": ["squad 0", "squad 1"]}
Records = Sequence[Any]


def make_run(
    folder: Path, tokenizer: Path, contexts: dict[str, list[str]], heldout: float = 0.0
) -> RunFolder:
    run = RunFolder(str(folder / "run"))
    write_tasks(run, write_task_data(folder / "ft.jsonl", contexts), examples_per_part=5)
    config = PackConfig(tokenizer=str(tokenizer), seq_len=128, heldout_fraction=heldout)
    pack_tasks(run, config)
    return run


@pytest.fixture
def run(tmp_path: Path, tokenizer_folder: Path) -> RunFolder:
    """Eleven examples in three parts and their rows; training has not begun."""
    return make_run(tmp_path, tokenizer_folder, CONTEXTS)


def commit_again(folder: str, part: str, **changes: Any) -> None:
    """Commit a part of a complete stage otherwise, as a stage with a defect would have."""
    identity = find_identity(folder)
    assert identity is not None
    stage = StageFolder(folder, identity)
    known = stage.committed().get(
        part, PartCommit(part=part, files=[], records_in=0, records_out=0)
    )
    stage.commit(known.model_copy(update=changes))
    remove_file(stage.uri("manifest.json"))
    stage.close()


def rewrite(folder: str, part: str, file: str, change: Callable[[Records], Records]) -> None:
    """Change the records of a file of a part."""
    records = [orjson.loads(line) for line in read_lines(join(folder, file))]
    with write_shard(folder, file) as shard:
        for record in change(records):
            shard.write(record)
    files = [
        shard.entry() if entry.name == file else entry for entry in read_commit(folder, part).files
    ]
    commit_again(folder, part, files=files)


def rewrite_index(run: RunFolder, change: Callable[[Records], Records]) -> None:
    rewrite(run.rows, PART, PART.replace("/", "/train/") + ".index.jsonl.zst", change)


def without_one(rows: Records) -> Records:
    rows[0][0]["documents"].pop()
    return rows


def with_one_again(rows: Records) -> Records:
    return [*rows, [{"documents": rows[0][0]["documents"][:1], "start": 0}]]


def found(result: AuditResult) -> tuple[int, int, int]:
    return result.documents, result.lost, result.duplicated


def others(result: AuditResult) -> list[str]:
    """Problems beside the stages that have not run."""
    return [line for line in result.problems if "not complete" not in line]


def test_every_example_is_in_the_rows_once(run: RunFolder) -> None:
    result = audit_run(run)
    assert found(result) == (11, 0, 0)
    assert [line.split(":")[0] for line in result.problems] == ["train", "export"]
    assert result.lines == [
        "tasks   in 11 = out 11 + dropped 0",
        "pack    in 11 = out 11 + dropped 0",
    ]


def test_held_out_examples_are_followed_too(tmp_path: Path, tokenizer_folder: Path) -> None:
    run = make_run(tmp_path, tokenizer_folder, CONTEXTS, heldout=0.5)
    indexes = list(Path(run.rows).glob("*/heldout/*.index.jsonl.zst"))
    assert any(list(read_lines(str(index))) for index in indexes)
    assert found(audit_run(run)) == (11, 0, 0)


def test_an_example_that_is_in_no_row_is_lost(run: RunFolder) -> None:
    rewrite_index(run, without_one)
    result = audit_run(run)
    assert found(result) == (11, 1, 0)
    assert not result.is_clean


def test_an_example_in_two_rows_is_duplicated(run: RunFolder) -> None:
    rewrite_index(run, with_one_again)
    assert found(audit_run(run)) == (11, 0, 1)


def test_an_example_in_two_parts_of_the_task_data_is_duplicated(run: RunFolder) -> None:
    parts = [f"race/part-0000000{number}" for number in (0, 1)]
    first = next(iter(read_lines(join(run.tasks, f"{parts[0]}.jsonl.zst"))))
    shard = f"{parts[1]}.jsonl.zst"
    rewrite(run.tasks, parts[1], shard, lambda chains: [orjson.loads(first), *chains[1:]])
    result = audit_run(run)
    # What took the place of another is in the rows of one part and not in those of the other.
    assert found(result) == (11, 1, 1 + 1)


def test_an_example_twice_in_a_part_of_the_task_data_is_duplicated(run: RunFolder) -> None:
    part = "race/part-00000000"
    rewrite(run.tasks, part, f"{part}.jsonl.zst", lambda chains: [*chains, chains[0]])
    assert audit_run(run).duplicated == 1


def test_an_example_longer_than_a_row_is_dropped_not_lost(
    tmp_path: Path, tokenizer_folder: Path
) -> None:
    contexts = {**CONTEXTS, "squad": ["squad 0", "long " * 200]}
    run = make_run(tmp_path, tokenizer_folder, contexts)
    assert read_manifest(run.rows).dropped == {"longer_than_a_row": 1}
    result = audit_run(run)
    assert found(result) == (11, 0, 0)
    assert others(result) == []
    assert "pack    in 11 = out 10 + dropped 1" in result.lines


def test_a_part_without_rows_is_lost(run: RunFolder) -> None:
    remove_file(join(run.rows, f"{PART}.json"))
    result = audit_run(run)
    assert found(result) == (11, 5, 0)
    assert any("do not add up" in line for line in result.problems)


def test_what_was_lost_is_said_by_its_part(run: RunFolder) -> None:
    rewrite_index(run, lambda rows: rows[1:])
    result = audit_run(run)
    assert result.lost > 0
    assert any(PART in line for line in others(result))


def test_rows_of_no_task_data_are_noticed(run: RunFolder) -> None:
    part = "none-tasks/part-00000000"
    with write_shard(run.rows, "none-tasks/train/part-00000000.index.jsonl.zst") as shard:
        shard.write([{"documents": ["ab"], "start": 0}])
    commit_again(run.rows, part, files=[shard.entry()])
    assert any(part in line for line in others(audit_run(run)))


def test_a_drop_that_was_none_does_not_hide_a_loss(run: RunFolder) -> None:
    rewrite_index(run, without_one)
    dropped = {"records_out": 1, "dropped": {"longer_than_a_row": 1}}
    commit_again(run.rows, "squad-tasks/part-00000000", **dropped)
    result = audit_run(run)
    assert (result.lost, others(result)) != (0, [])


def test_task_data_made_anew_make_the_rows_outdated(run: RunFolder, tmp_path: Path) -> None:
    for path in sorted(Path(run.tasks).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    write_tasks(run, str(tmp_path / "ft.jsonl"), examples_per_part=5)
    (problem,) = others(audit_run(run))
    assert problem.startswith("tasks/ was made anew after the pack stage used it")
