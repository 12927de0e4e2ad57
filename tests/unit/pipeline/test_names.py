"""A manifest from elsewhere leads nowhere else: nothing outside is read, written or removed."""

import json
import os
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from launch.audit import audit_run
from pipeline import storage
from pipeline.errors import InputError
from pipeline.loader.packed import open_rows
from pipeline.names import FileName, RelativeName, require_inside
from pipeline.opening import Growth, open_stage
from pipeline.run_folder import RunFolder
from pipeline.shards import write_shard
from pipeline.stage import PartCommit, read_commit, read_commits, read_manifest

OUTWARD = (
    "../secret",
    "a/../../secret",
    "/etc/passwd",
    "s3://bucket/key",
    "file:///etc/passwd",
    "zip://a::b",
    "simplecache::a",
    "a//b",
    "./a",
    "a/",
    "",
    "a\\..\\b",
    "a\0b",
    "a\x1b[2Jb",
    "a" * 2000,
)
SECRET = b"what lies outside"


@pytest.mark.parametrize("name", OUTWARD)
def test_a_name_that_leads_out_is_refused(name: str) -> None:
    for kind in (RelativeName, FileName):
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python(name)


@pytest.mark.parametrize(
    "name", ["part-00000000.rows.zst", "sötu-raw/train/part-0.rows.zst", "..a/b..c"]
)
def test_names_that_stages_write_are_fine(name: str) -> None:
    assert TypeAdapter(RelativeName).validate_python(name) == name
    if "/" in name:
        with pytest.raises(ValidationError, match="without folders"):
            TypeAdapter(FileName).validate_python(name)


@pytest.fixture
def outside(tmp_path: Path):
    """A file beside the stage's folder, which must be there at the end as it was."""
    path = tmp_path / "secret.jsonl.zst"
    path.write_bytes(SECRET)
    yield path
    assert path.read_bytes() == SECRET


@pytest.fixture
def stage_folder(tmp_path: Path, outside: Path) -> Path:
    """A complete stage of one part."""
    stage = open_stage(str(tmp_path / "documents"), "ingest", {"a": 1}, {"x": "1"})
    with write_shard(stage.folder, "sotu/part-00000000.jsonl.zst") as shard:
        shard.write({"text": "x"})
    stage.commit(
        PartCommit(part="sotu/part-00000000", files=[shard.entry()], records_in=1, records_out=1)
    )
    stage.close()
    return tmp_path / "documents"


def change(path: Path, *keys: str | int, to: object) -> None:
    """Set one value in a JSON file."""
    values = json.loads(path.read_bytes())
    target = values
    for key in keys[:-1]:
        target = target[key]
    target[keys[-1]] = to
    path.write_text(json.dumps(values))


def test_a_manifest_is_refused_by_file_and_field(stage_folder: Path, outside: Path) -> None:
    change(stage_folder / "manifest.json", "parts", 0, "name", to="../secret.jsonl.zst")
    with pytest.raises(InputError, match=r"manifest\.json .*parts\.0\.name = '\.\./secret"):
        read_manifest(str(stage_folder))
    with pytest.raises(InputError, match=r"parts\.0\.name"):
        audit_run(RunFolder(str(stage_folder.parent)))


def test_a_sidecar_is_refused_by_file_and_field(stage_folder: Path, outside: Path) -> None:
    sidecar = stage_folder / "sotu" / "part-00000000.json"
    change(sidecar, "files", 0, "name", to=str(outside))
    with pytest.raises(InputError, match=r"part-00000000\.json .*files\.0\.name = '/"):
        read_commits(str(stage_folder))
    with pytest.raises(InputError, match=r"files\.0\.name"):
        read_commit(str(stage_folder), "sotu/part-00000000")


def test_a_sidecar_speaks_for_its_own_part(stage_folder: Path) -> None:
    change(stage_folder / "sotu" / "part-00000000.json", "part", to="other/part-00000007")
    with pytest.raises(InputError, match=r"'other/part-00000007', but it stands where .*sotu/part"):
        read_commits(str(stage_folder))


def test_taking_back_a_growth_removes_nothing_outside(stage_folder: Path, outside: Path) -> None:
    """`StageFolder.revert` removes sidecars by the names that they hold."""
    grown = open_stage(str(stage_folder), "ingest", {"a": 1}, {"x": "1", "y": "2"}, _anything())
    grown.adopt()
    victim = outside.parent / "victim.json"
    victim.write_bytes(SECRET)
    change(stage_folder / "sotu" / "part-00000000.json", "part", to="../victim")
    with pytest.raises(InputError, match=r"part = '\.\./victim'"):
        grown.revert()
    assert victim.read_bytes() == SECRET


def _anything() -> Growth:
    return Growth(is_allowed=True, has_grown=lambda found, wanted: True)


def test_a_source_of_rows_is_no_path(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    size = {"rows": 1, "tokens": 1, "shards": 1, "full_frames": 0, "tail_rows": 1, "digest": ""}
    content = {
        "input_key": "",
        "tokenizer": "t",
        "seq_len": 8,
        "token_bytes": 2,
        "rows_per_frame": 1,
        "sources": {"../elsewhere": {"train": size}},
    }
    (tmp_path / "sources.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"sources\.json .*sources\.\.\./elsewhere"):
        open_rows(str(tmp_path))
    content["sources"] = {"sotu-raw": {"train/..": size}}
    (tmp_path / "sources.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"sources\.sotu-raw\.train/\.\."):
        open_rows(str(tmp_path))


@pytest.mark.parametrize("what", ["sotu/part-00000000.jsonl.zst", "sotu/part-00000000.json"])
def test_a_link_out_of_the_folder_is_refused(stage_folder: Path, outside: Path, what: str) -> None:
    (stage_folder / what).unlink()
    (stage_folder / what).symlink_to(outside)
    with pytest.raises(InputError, match=r"part-00000000\.json.* is a link out of its folder, to"):
        read_commits(str(stage_folder))
    with pytest.raises(InputError, match="is a link out of its folder"):
        audit_run(RunFolder(str(stage_folder.parent)))


def test_links_within_a_folder_and_to_a_folder_are_fine(stage_folder: Path, tmp_path: Path) -> None:
    shard = stage_folder / "sotu" / "part-00000000.jsonl.zst"
    shard.rename(stage_folder / "sotu" / "kept.zst")
    shard.symlink_to("kept.zst")
    (tmp_path / "link").symlink_to(stage_folder)
    assert list(read_commits(str(tmp_path / "link"))) == ["sotu/part-00000000"]


def test_a_linked_folder_on_the_way_is_refused(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "stage").mkdir()
    (tmp_path / "stage" / "sotu").symlink_to(outside.parent)
    with pytest.raises(InputError, match="is a link out of its folder"):
        require_inside(str(tmp_path / "stage"), [f"sotu/{outside.name}"])


def test_a_pipe_is_no_shard(stage_folder: Path) -> None:
    """To open one would wait for ever."""
    shard = stage_folder / "sotu" / "part-00000000.jsonl.zst"
    shard.unlink()
    os.mkfifo(shard)
    with pytest.raises(InputError, match="no regular file"):
        read_commits(str(stage_folder))


def test_removing_a_link_keeps_what_it_leads_to(tmp_path: Path, outside: Path) -> None:
    kept = tmp_path / "kept"
    (kept / "deep").mkdir(parents=True)
    (kept / "deep" / "file").write_bytes(SECRET)
    (tmp_path / "link").symlink_to(kept)
    storage.remove_tree(str(tmp_path / "link"))
    assert not (tmp_path / "link").is_symlink()
    run = tmp_path / "run"
    run.mkdir()
    (run / "folder").symlink_to(kept)
    (run / "file").symlink_to(outside)
    storage.remove_tree(str(run))
    assert not run.exists()
    assert (kept / "deep" / "file").read_bytes() == SECRET


def test_nothing_is_appended_through_a_link(tmp_path: Path, outside: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / ".lock").symlink_to(outside)
    with (
        pytest.raises(InputError, match=r"\.lock is a link to .*secret"),
        storage.exclusive(str(run)),
    ):
        pass
    (run / "file").symlink_to(outside)
    storage.write_atomic(str(run / "file"), b"new")
    assert (run / "file").read_bytes() == b"new"
