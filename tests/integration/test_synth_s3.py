"""Synthesis on an object store: the S3 protocol over real HTTP, two drivers, one of them killed."""

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from pipeline import storage
from pipeline.contracts import decode_chain, decode_document
from pipeline.shards import read_lines
from pipeline.stage import committed_names, read_commits, read_manifest
from tests.integration.conftest import IPT, run_ipt, write_config, write_corpus
from tests.processes import wait_for

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_of_several_creators_one_succeeds(bucket: str) -> None:
    uri = f"{bucket}/deep/file"
    assert storage.create(uri, b"first")
    assert not storage.create(uri, b"second")
    assert storage.read_bytes(uri) == b"first"
    with storage.open_atomic(uri) as file:
        file.write(b"third")
    assert storage.read_bytes(uri) == b"third"
    assert storage.list_files(bucket) == ["deep/file"]


def test_two_drivers_share_a_folder_and_one_is_killed(
    bucket: str, tmp_path: Path, tokenizer_folder: Path
) -> None:
    write_corpus(tmp_path / "corpus.jsonl", 120)
    config = str(write_config(tmp_path, "run", tokenizer_folder))
    run = f"{bucket}/run"
    run_ipt("ingest", config, f"run.dir={run}")
    command = [*IPT, "synth", config, f"run.dir={run}", "synth.engine.fake.delay_s=0.6"]
    augmented, drivers = f"{run}/augmented", []
    for number in range(2):  # one after the other: two Rays that start at once trip over ports
        drivers.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
        assert wait_for(lambda number=number: len(committed_names(augmented)) > 4 * number)
    drivers[0].kill()
    drivers[0].communicate()
    output, _ = drivers[1].communicate(timeout=300)
    assert drivers[1].returncode == 0, output
    manifest = read_manifest(augmented)
    wanted: Counter[str] = Counter()
    for commit in read_commits(f"{run}/documents").values():
        lines = read_lines(f"{run}/documents/{commit.shard}")
        wanted.update(doc.id for doc in map(decode_document, lines) if doc.is_converted)
    found: Counter[str] = Counter()
    for commit in read_commits(augmented).values():
        for line in read_lines(f"{augmented}/{commit.shard}"):
            found.update(shot.doc_id for shot in decode_chain(line).shots)
    assert found == wanted
    assert manifest.records_out == wanted.total() > 40
    files = set(storage.list_files(augmented))
    assert {entry.name for entry in manifest.parts} <= files
    strays = [name for name in files if name.endswith(".zst")]
    assert len(strays) == len(manifest.parts), "files of beaten attempts are removed"
    assert "complete:" in run_ipt("status", run).stdout
    for stage in ("filter", "pack"):
        run_ipt(stage, config, f"run.dir={run}")
    done = run_ipt("train", config, f"run.dir={run}", check=False)
    assert done.returncode == 2
    assert "needs a file system that all nodes share" in done.stderr
