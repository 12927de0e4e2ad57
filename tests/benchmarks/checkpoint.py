"""What a checkpoint costs a run, and what a resume costs at any point of it.

    python tests/benchmarks/checkpoint.py

A Llama of 59M parameters (0.7 GB of weights and moments in fp32) trains on two ranks and writes a
checkpoint every few steps: beside training, then with training waiting for it. DeepSpeed's own
`save_checkpoint` writes the state of the same engine. Then a run of 1,000 steps of a tiny model is
resumed from its checkpoints at 10%, 50% and 99%.
"""

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.bars import at_most, conclude, figure, print_table
from tests.benchmarks.peers import run_command
from tests.packed import random_rows, write_packed
from tests.tokenizers import save_tokenizer
from train.metrics import read_metrics

LARGE = {
    "model_type": "llama",
    "vocab_size": 32_000,
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
}
TINY = LARGE | {
    "vocab_size": 512,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
CONFIG = """
[run]
dir = "{run}"
[ingest.sources.noise]
inputs = ["none.jsonl"]
convert_fraction = 0
[synth]
model = "none"
[pack]
tokenizer = "{tokenizer}"
[train]
num_steps = {steps}
rows_per_batch = {rows}
micro_rows = 1
num_ranks = {ranks}
zero_stage = 2
precision = "fp32"
log_every = 1
[train.optimizer]
warmup_steps = 2
[train.model.shape]
{shape}
"""
SEQ_LEN, RANKS = 256, 2
IPT = str(Path(sys.executable).with_name("ipt"))


def write_run(folder: Path, shape: dict[str, Any], steps: int, rows: int, ranks: int) -> Path:
    """The config of a run on random rows."""
    folder.mkdir()
    tokenizer = save_tokenizer(folder / "tokenizer")
    rows_of = {"noise-raw": [random_rows(256, SEQ_LEN, 0, 300)]}
    write_packed(folder / "run" / "rows", rows_of, 64, str(tokenizer))
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in shape.items())
    config = folder / "run.toml"
    values = {"run": folder / "run", "tokenizer": tokenizer, "shape": lines}
    config.write_text(CONFIG.format(**values, steps=steps, rows=rows, ranks=ranks))
    return config


def measure_saves(folder: Path, is_async: bool) -> dict[str, float]:
    """Seconds that training stood still for a checkpoint, and what steps take."""
    config = write_run(folder, LARGE, steps=16, rows=4, ranks=RANKS)
    settings = ["train.checkpoint_every=5", f"train.async_checkpoints={json.dumps(is_async)}"]
    subprocess.run([IPT, "train", str(config), *settings], check=True, stdout=subprocess.DEVNULL)
    lines = read_metrics(str(folder / "run" / "train" / "metrics.jsonl"))
    steps = [line["time/step_s"] for line in lines[2:] if not line["time/checkpoint_s"]]
    # The first save allocates the copy in memory that all others use.
    stalls = [line["time/checkpoint_s"] for line in lines if line["time/checkpoint_s"]]
    files = (folder / "run" / "train" / "checkpoints").rglob("*.safetensors")
    size = sum(path.stat().st_size for path in files) / 2  # two checkpoints are kept
    return {
        "stall, s": statistics.mean(stalls[1:]),
        "first stall, s": stalls[0],
        "step, s": statistics.median(steps),
        "GB": size / 1e9,
    }


def measure_deepspeed(folder: Path) -> dict[str, float]:
    """The same of `engine.save_checkpoint`."""
    folder.mkdir()
    launcher = str(Path(sys.executable).with_name("deepspeed"))
    script = str(Path(__file__).with_name("checkpoint_sides.py"))
    options = ["--shape", json.dumps(LARGE), "--folder", str(folder)]
    run_command([launcher, f"--num_accelerators={RANKS}", script, *options], RANKS)
    result: dict[str, float] = json.loads((folder / "result.json").read_text())
    return result


def measure_resumes(folder: Path) -> dict[int, float]:
    """Seconds from the start of `ipt train` to its first new step, by the step resumed from."""
    config = write_run(folder, TINY, steps=1000, rows=1, ranks=1)
    settings = ["train.checkpoint_every=10", "train.keep_every=10", "train.log_every=1000"]
    subprocess.run([IPT, "train", str(config), *settings], check=True, stdout=subprocess.DEVNULL)
    train = folder / "run" / "train"
    whole = folder / "whole"
    train.rename(whole)
    found = {}
    for step in (100, 500, 990):
        shutil.rmtree(train, ignore_errors=True)
        (train / "checkpoints").mkdir(parents=True)
        for name in ("stage.json", "metrics.jsonl"):
            shutil.copy(whole / name, train)
        tag = f"step-{step:08d}"
        shutil.copytree(whole / "checkpoints" / tag, train / "checkpoints" / tag)
        shutil.copy(whole / "checkpoints" / f"{tag}.json", train / "checkpoints")
        found[step] = min(_time_to_first_step(config, step) for _ in range(2))
    return found


def _time_to_first_step(config: Path, step: int) -> float:
    started = time.monotonic()
    process = subprocess.Popen(
        [IPT, "train", str(config), "train.checkpoint_every=100000"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if re.search(rf"step +{step + 1}/", line):
            break
    taken = time.monotonic() - started
    process.kill()
    process.communicate()
    time.sleep(3)  # its rank ends by itself
    return taken


def main() -> int:
    """Measure."""
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory(prefix="ipt-checkpoint-") as name:
        folder = Path(name)
        results = {
            "ipt, beside training": measure_saves(folder / "async", is_async=True),
            "ipt, waiting": measure_saves(folder / "sync", is_async=False),
            "DeepSpeed's save_checkpoint": measure_deepspeed(folder / "deepspeed"),
        }
        resumes = measure_resumes(folder / "resume")
    columns = {"stall, s": ".2f", "first stall, s": ".2f", "step, s": ".2f", "GB": ".2f"}
    print_table(results, columns)
    aside = results["ipt, beside training"]
    print("resume, s:", {step: round(seconds, 2) for step, seconds in resumes.items()})
    return conclude(
        "checkpoint",
        {
            "async_stall_in_steps": at_most(aside["stall, s"] / aside["step, s"], 1.0),
            "async_stall_s": figure(aside["stall, s"]),
            "sync_stall_s": figure(results["ipt, waiting"]["stall, s"]),
            "deepspeed_stall_s": figure(results["DeepSpeed's save_checkpoint"]["stall, s"]),
            "resume_at_99_over_10_percent": at_most(resumes[990] / resumes[100], 1.2),
            "resume_at_50_over_10_percent": at_most(resumes[500] / resumes[100], 1.2),
        },
    )


if __name__ == "__main__":
    sys.exit(main())
