"""SIGKILL in every stage: the next run goes on, and ends where an undisturbed one ends."""

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.contracts import decode_chain
from pipeline.pretrained import load_tokenizer
from pipeline.shards import read_lines
from pipeline.stage import read_manifest
from tests.integration.conftest import IPT, run_ipt, write_config, write_corpus
from train.heldout import read_heldout
from train.metrics import heldout_losses, read_metrics

pytestmark = [pytest.mark.ray, pytest.mark.deepspeed, pytest.mark.slow]

SIGNS_OF_WORK = {
    "documents": "documents/made-up/part-*.json",
    "augmented": "augmented/made-up/part-*.json",
    "filtered": "filtered/made-up/part-*.json",
    "rows": "rows/*/part-*.json",
    "train": "train/checkpoints/step-*.json",
    "hf": "hf/stage.json",
    "eval": "eval/stage.json",
}


def kill_when(config: Path, run: Path, stage: str) -> None:
    """Start the job, SIGKILL its process the moment `stage` has begun to leave something."""
    process = subprocess.Popen(
        [*IPT, "run", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 240
    while not list(run.glob(SIGNS_OF_WORK[stage])):
        assert process.poll() is None, f"ended before {stage} began"
        assert time.monotonic() < deadline, f"{stage} did not begin"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


def counts_of(run: Path) -> dict[str, tuple]:
    found = {}
    for stage in SIGNS_OF_WORK:
        manifest = read_manifest(str(run / stage))
        found[stage] = (
            manifest.records_in,
            manifest.records_out,
            manifest.dropped,
            manifest.counts,
        )
    return found


def losses_of(run: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(str(run / "train" / "metrics.jsonl"))]


def weights_of(run: Path) -> str:
    return hashlib.sha256((run / "hf" / "model.safetensors").read_bytes()).hexdigest()


def test_killed_in_every_stage_ends_like_an_undisturbed_run(
    small_run: Callable[[str], Path], tmp_path: Path
) -> None:
    calm, killed = small_run("calm"), small_run("killed")
    run_ipt("run", str(calm))
    run = tmp_path / "killed"
    for stage in SIGNS_OF_WORK:
        kill_when(killed, run, stage)
        assert not (run / stage / "manifest.json").exists() or stage in ("documents", "hf", "eval")
    run_ipt("run", str(killed))
    assert counts_of(run) == counts_of(tmp_path / "calm")
    assert read_manifest(str(run / "documents")).dropped == {"malformed_json": 1}
    assert losses_of(run) == losses_of(tmp_path / "calm")
    assert weights_of(run) == weights_of(tmp_path / "calm"), "the resumed weights differ"
    shown = run_ipt("audit", str(run)).stdout
    assert shown.endswith("audit: documents=60 lost=0 duplicated=0\n")
    assert not _processes_of(run), "something outlived the runs"


def _processes_of(run: Path) -> list[str]:
    """Command lines of live processes that name the run's folder or config."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if f"{run}" in command:
                found.append(command)
    return found


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> Path:
    """A folder with a run whose rows are packed: `run.toml` and `run/`."""
    folder = tmp_path_factory.mktemp("packed")
    write_corpus(folder / "corpus.jsonl")
    config = write_config(folder, "run", tokenizer_folder)
    for stage in ("ingest", "synth", "filter", "pack"):
        run_ipt(stage, str(config), "synth.engine.fake.delay_s=0")
    return folder


@pytest.fixture
def packed_run(packed: Path, tmp_path: Path) -> tuple[Path, list[str]]:
    """A copy of that run for one test, and the arguments of `ipt` that lead to it."""
    run = tmp_path / "run"
    shutil.copytree(packed / "run", run)
    return run, [str(packed / "run.toml"), f"run.dir={run}", "synth.engine.fake.delay_s=0"]


MANY_STEPS = ("train.num_steps=40", "train.checkpoint_every=1000")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_training_saves_and_goes_on(
    packed_run: tuple[Path, list[str]], number: signal.Signals
) -> None:
    run, arguments = packed_run
    command = ["train", *arguments, *MANY_STEPS]
    process = subprocess.Popen(
        [*IPT, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "step  5/" in line:
            break
    process.send_signal(number)
    rest = process.stdout.read()
    if number == signal.SIGKILL:  # nobody is left to say it; the ranks save all the same
        assert process.wait() == -signal.SIGKILL
    else:
        assert process.wait() == 75, rest
        assert "saved; run again to go on" in rest
    shown = run_ipt(*command).stdout
    resumed = int(shown.partition("resumed from step ")[2].split()[0])
    assert 5 <= resumed < 40
    assert len(losses_of(run)) == 40
    assert not _processes_of(run)


@pytest.mark.parametrize(("zero_stage", "precision"), [(1, "bf16"), (3, "bf16")])
def test_every_zero_stage_trains_and_exports(
    packed_run: tuple[Path, list[str]], zero_stage: int, precision: str
) -> None:
    run, arguments = packed_run
    settings = [f"train.zero_stage={zero_stage}", f"train.precision={precision}"]
    run_ipt("run", *arguments, *settings, "train.num_steps=6")
    losses = losses_of(run)
    assert losses[-1] < losses[0]
    assert run_ipt("audit", str(run)).stdout.endswith("lost=0 duplicated=0\n")


def test_held_out_losses_are_told_apart_by_kind(packed_run: tuple[Path, list[str]]) -> None:
    run, arguments = packed_run
    shutil.rmtree(run / "rows")
    run_ipt("pack", *arguments, "pack.heldout_fraction=0.7")
    heldout = read_heldout(str(run / "rows"), 1000)
    tokenizer = load_tokenizer(str(read_manifest(str(run / "rows")).config["tokenizer"]))
    found = {
        tokenizer.decode(row.block.tokens[0, start:end].tolist(), skip_special_tokens=True)
        for row in heldout.rows
        for start, end, _ in row.responses
    }
    parts = (run / "filtered" / "made-up").glob("part-*.jsonl.zst")
    lines = [line for part in parts for line in read_lines(str(part))]
    written = {
        pair.response for line in lines for shot in decode_chain(line).shots for pair in shot.pairs
    }
    assert len(found) > 2
    assert {text.strip() for text in found} <= {text.strip() for text in written}
    run_ipt("train", *arguments, "train.num_steps=2", "train.heldout.every=2")
    last = read_metrics(str(run / "train" / "metrics.jsonl"))[-1]
    by_source = heldout_losses(last, "source")
    assert by_source.keys() == {"made-up-raw", "made-up-augmented"}
    assert heldout_losses(last, "kind").keys() == {"free_form"}
    assert all(3 < loss < 7 for loss in by_source.values())
