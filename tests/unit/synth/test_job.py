"""The synthesis stage where nothing is to be written: no worker, no engine, complete at once."""

import json
from pathlib import Path

from pipeline.ingest.config import IngestConfig
from pipeline.ingest.job import run_ingest
from pipeline.shards import read_lines
from pipeline.stage import read_commits
from synth import job
from synth.config import SynthConfig


def test_without_a_document_to_convert_no_engine_is_asked_for(tmp_path: Path, monkeypatch) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"text": f"Text {i}."}) + "\n" for i in range(5)))
    documents, chains = str(tmp_path / "documents"), str(tmp_path / "augmented")
    source = {"inputs": [str(corpus)], "convert_fraction": 0.0}
    run_ingest(IngestConfig(sources={"s": source}, docs_per_part=2), documents)

    def no_ray(*_: object) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(job, "ray_session", no_ray)
    config = SynthConfig(protocol="tuned", model=str(tmp_path / "no-such-model"))
    manifest = job.run_synth(config, documents, chains)
    assert manifest.counts.get("pairs", 0) == 0
    commits = read_commits(chains)
    assert list(commits) == list(read_commits(documents))
    assert [list(read_lines(f"{chains}/{commit.shard}")) for commit in commits.values()] == [[]] * 3
    assert job.run_synth(config, documents, chains) == manifest
