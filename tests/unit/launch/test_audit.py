"""The audit counts what is in the shards, not what the manifests say."""

import json
from pathlib import Path

import pytest
import zstandard

from launch.audit import audit_run
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.job import run_ingest
from pipeline.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run of which only ingest is done: 20 documents and one dropped record."""
    lines = [json.dumps({"text": f"text {number}"}) for number in range(20)]
    (tmp_path / "in.jsonl").write_text("\n".join([*lines, "{broken"]) + "\n")
    config = IngestConfig(sources={"s": {"inputs": [str(tmp_path / "in.jsonl")]}}, docs_per_part=8)
    found = RunFolder(str(tmp_path / "run"))
    run_ingest(config, found.documents)
    return found


def rewrite(folder: RunFolder, name: str, change) -> None:
    path = Path(folder.documents) / name
    lines = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
    path.write_bytes(zstandard.compress(b"".join(change(lines.splitlines(keepends=True)))))


def test_unfinished_stages_are_problems_but_no_losses(folder: RunFolder) -> None:
    result = audit_run(folder)
    assert (result.documents, result.lost, result.duplicated) == (20, 0, 0)
    assert not result.is_clean
    assert all("not complete" in problem for problem in result.problems)


def test_a_missing_document_is_lost(folder: RunFolder) -> None:
    rewrite(folder, "s/part-00000000.jsonl.zst", lambda lines: lines[1:])
    result = audit_run(folder)
    assert result.lost == 1
    assert any("sha256 differs" in problem for problem in result.problems)


def test_a_document_twice_is_duplicated(folder: RunFolder) -> None:
    rewrite(folder, "s/part-00000001.jsonl.zst", lambda lines: [*lines, lines[0]])
    assert audit_run(folder).duplicated == 1


def test_a_dropped_record_without_its_line_is_noticed(folder: RunFolder) -> None:
    rewrite(folder, "dropped/s/part-00000002.jsonl.zst", lambda lines: [])
    assert any("dropped/ does not hold" in problem for problem in audit_run(folder).problems)
