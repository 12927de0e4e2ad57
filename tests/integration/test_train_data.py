"""Training on rows that mix, grow and do not divide: real DeepSpeed ranks, killed and resumed."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.integration.conftest import IPT, run_ipt, write_config
from tests.packed import random_rows, write_packed
from tests.processes import marked_processes, wait_for
from train.metrics import read_metrics

pytestmark = [pytest.mark.deepspeed, pytest.mark.slow]

SOURCES = ("made-up-raw", "made-up-augmented")


def write_rows(run: Path, tokenizer: Path, num_parts: int) -> None:
    """Rows of two sources, the second of which is easier to learn; written anew."""
    shutil.rmtree(run / "rows", ignore_errors=True)
    parts = {
        name: [random_rows(20, 32, 10 * k + part, (250, 6)[k]) for part in range(num_parts)]
        for k, name in enumerate(SOURCES)
    }
    write_packed(run / "rows", parts, 4, str(tokenizer))


def kill_at(step: int, arguments: list[str], mark: str) -> None:
    """Train until a step is shown, then SIGKILL every process at once."""
    process = subprocess.Popen([*IPT, "train", *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if f"step {step:>2}/" in line:
            break
    for number in marked_processes(mark):
        os.kill(number, signal.SIGKILL)
    process.communicate()
    assert wait_for(lambda: not marked_processes(mark))


def metrics_of(run: Path) -> list[dict]:
    return read_metrics(str(run / "train" / "metrics.jsonl"))


def test_weights_that_follow_the_losses_are_replayed_after_a_kill(
    tmp_path: Path, tokenizer_folder: Path, mark: str
) -> None:
    """7 rows a batch on two ranks of two rows each, so that one row is filled up."""
    settings = [
        "train.rows_per_batch=7",
        "train.num_steps=12",
        'mixture={online={rule="odm", every_steps=2, warmup_steps=4}}',
    ]
    runs = {}
    for name in ("calm", "killed", "alone"):
        run = tmp_path / name
        config = str(write_config(tmp_path, name, tokenizer_folder))
        write_rows(run, tokenizer_folder, 2)
        arguments = [config, *settings]
        if name == "killed":
            kill_at(8, arguments, mark)
        if name == "alone":
            arguments += ["train.num_ranks=1"]
        shown = run_ipt("train", *arguments).stdout
        assert ("resumed from step 6" in shown) == (name == "killed")
        runs[name] = metrics_of(run)
    keys = ["loss", "data/rows", *(f"data/{name}/tokens" for name in SOURCES)]
    for calm, killed, alone in zip(*runs.values(), strict=True):
        assert [calm[key] for key in keys] == [killed[key] for key in keys]
        assert calm.get("data/weights") == killed.get("data/weights")
        assert calm["data/rows"] == alone["data/rows"] == 7 * calm["step"]
        assert sum(alone[key] for key in keys[2:]) == 7 * 31, "rows of padding were counted"
        if calm["step"] <= 6:  # later the weights, and so the rows, may differ by rounding
            assert alone["loss"] == pytest.approx(calm["loss"], abs=1e-4)
    changed = [line["step"] for line in runs["calm"] if "data/weights" in line]
    assert changed == [6, 8, 10, 12]
    first, last = (runs["calm"][step - 1]["data/weights"] for step in (8, 12))
    assert first != last
    assert last[1] > last[0], "the source of higher loss should come more often"


def test_a_run_goes_on_with_rows_that_have_grown(
    tmp_path: Path, tokenizer_folder: Path, mark: str
) -> None:
    run, arguments = tmp_path / "run", [str(write_config(tmp_path, "run", tokenizer_folder))]
    arguments += ["train.num_ranks=1", "train.num_steps=16"]
    write_rows(run, tokenizer_folder, 1)
    kill_at(7, arguments, mark)
    before = metrics_of(run)[:6]
    write_rows(run, tokenizer_folder, 3)
    refused = run_ipt("train", *arguments, check=False)
    assert refused.returncode == 2
    assert "inputs.rows" in refused.stderr
    shown = run_ipt("train", *arguments, "--allow-append").stdout
    assert "resumed from step 6" in shown
    metrics = metrics_of(run)
    assert metrics[:6] == before
    assert [line["data/rows"] for line in metrics] == [8 * (step + 1) for step in range(16)]
    assert run_ipt("train", *arguments, "--allow-append").stdout.startswith(
        "train   complete already"
    )
