"""A corpus that grows while a run is under way: every stage goes on, nothing is done again."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.stage import read_commits, read_manifest
from tests.integration.conftest import run_ipt, write_config, write_corpus
from tests.integration.test_train_data import kill_at, metrics_of

pytestmark = [pytest.mark.ray, pytest.mark.deepspeed, pytest.mark.slow]

DATA_STAGES = ("documents", "augmented", "filtered", "rows")


def data_of(run: Path) -> dict[Path, bytes]:
    """Content of every shard and sidecar."""
    return {
        path: path.read_bytes() for stage in DATA_STAGES for path in (run / stage).rglob("part-*.*")
    }


def test_a_run_goes_on_with_more_of_its_corpus(
    tmp_path: Path, tokenizer_folder: Path, mark: str
) -> None:
    run, config = tmp_path / "run", write_config(tmp_path, "run", tokenizer_folder)
    write_corpus(tmp_path / "corpus.jsonl", 40)
    settings = ["synth.engine.fake.delay_s=0", "train.num_ranks=1", "train.num_steps=16"]
    arguments = [str(config), *settings]
    for stage in ("ingest", "synth", "filter", "pack"):
        run_ipt(stage, *arguments)
    kill_at(7, arguments, mark)
    data, losses = data_of(run), metrics_of(run)[:6]

    text = config.read_text().replace('corpus.jsonl"]', 'corpus.jsonl", "MORE"]')
    config.write_text(text.replace("MORE", str(tmp_path / "more.jsonl")))
    with (tmp_path / "more.jsonl").open("w") as file:
        for line in (tmp_path / "corpus.jsonl").read_text().splitlines()[:-1]:
            record = json.loads(line)
            file.write(json.dumps({"id": record["id"] + 100, "text": record["text"][::-1]}) + "\n")
    refused = run_ipt("run", *arguments, check=False)
    assert refused.returncode == 2
    assert "--allow-append keeps what is written and goes on" in refused.stderr
    run_ipt("ingest", *arguments, "--allow-append")
    refused = run_ipt("run", *arguments, check=False)
    assert refused.returncode == 2, "what synthesis had written was done again"
    message = "documents/ has grown after the synth stage used it; `ipt synth --allow-append`"
    assert message in run_ipt("status", str(run)).stdout
    assert message in run_ipt("audit", str(run), check=False).stdout
    assert data_of(run).items() >= data.items()

    shown = run_ipt("run", *arguments, "--allow-append").stdout
    assert "resumed from step 6" in shown
    assert data_of(run).items() > data.items()
    assert metrics_of(run)[:6] == losses
    num_parts = len(read_commits(str(run / "documents")))
    assert num_parts == 5 + 1 + 5, "the one in the middle is that of the broken line"
    assert read_manifest(str(run / "documents")).records_out == 80
    assert "lost=0 duplicated=0" in run_ipt("audit", str(run)).stdout
    assert run_ipt("run", *arguments).stdout.count("complete already") == 7

    (tmp_path / "other.jsonl").write_text('{"id": 1000, "text": "One more text for the law."}\n')
    config.write_text(
        config.read_text().replace('more.jsonl"]', f'more.jsonl", "{tmp_path}/other.jsonl"]')
    )
    documents = read_manifest(str(run / "documents"))
    refused = run_ipt("run", *arguments, "--allow-append", check=False)
    assert refused.returncode == 2
    assert "is complete and would not follow: copy documents/, augmented/" in refused.stderr
    assert read_manifest(str(run / "documents")) == documents
    moved = [f"run.dir={tmp_path / 'moved'}", *arguments[1:]]
    for stage in DATA_STAGES:
        shutil.copytree(run / stage, tmp_path / "moved" / stage)
    shown = run_ipt("run", str(config), *moved, "--allow-append").stdout
    assert "ingest  complete: 81 documents" in shown
    assert "lost=0 duplicated=0" in run_ipt("audit", str(tmp_path / "moved")).stdout
