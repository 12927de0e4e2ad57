"""Training against the Hugging Face Trainer with DeepSpeed: same model, texts, batch, precision.

    python tests/benchmarks/training.py

The paragraphs of State of the Union speeches train a Llama of 17M parameters on two ranks, ZeRO
stage 2, in three ways:

    ipt train         packed rows, attention within documents, the loss in chunks
    Trainer, padded   a paragraph a row, padded to the longest of its batch, as most people run it
    Trainer, packed   the same packed rows, attention over whole rows

A useful token is one that is trained on; padding is none. Steps have about as many useful tokens
on every side; the first ones, which allocate and compile, do not count.
"""

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from launch.deepspeed import plan_launch, run_training
from launch.placement import OneHost
from pipeline.pretrained import load_tokenizer
from pipeline.run_folder import RunFolder
from tests.benchmarks.bars import at_least, at_most, conclude, figure, print_table
from tests.benchmarks.corpus import TOKENIZER, read_speeches
from tests.benchmarks.peers import run_command
from tests.packed import pack_documents, write_packed
from train.metrics import read_metrics

SEQ_LEN, ROWS_PER_BATCH, NUM_RANKS, WARMUP = 512, 8, 2, 3
SHAPE = {
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": SEQ_LEN,
    "tie_word_embeddings": True,
}
CONFIG = """
[run]
dir = "{run}"
[train]
num_steps = {steps}
rows_per_batch = {rows}
micro_rows = {micro}
num_ranks = {ranks}
zero_stage = 2
precision = "{precision}"
checkpoint_every = 100000
[train.optimizer]
peak_lr = 1e-3
warmup_steps = 2
[train.model.shape]
{shape}
"""


def read_paragraphs(num_tokens: int) -> list[np.ndarray]:
    """Token ids of paragraphs, each with an end mark, up to `num_tokens` together."""
    tokenizer = load_tokenizer(TOKENIZER)
    texts = [
        paragraph.strip()
        for speech in read_speeches()[100:]
        for paragraph in re.split(r"\n\s*\n", speech)
        if paragraph.strip()
    ]
    found, total = [], 0
    for start in range(0, len(texts), 512):
        for ids in tokenizer(texts[start : start + 512])["input_ids"]:
            found.append(np.array([*ids, tokenizer.eos_token_id], dtype=np.uint16))
            total += len(found[-1])
        if total >= num_tokens:
            break
    return found


def run_ours(folder: Path, steps: int, precision: str) -> dict[str, Any]:
    """`ipt train` on the rows in `folder`."""
    shape = "\n".join(f"{key} = {json.dumps(value)}" for key, value in SHAPE.items())
    config = folder / "run.toml"
    config.write_text(
        CONFIG.format(
            run=folder / "run",
            steps=steps,
            rows=ROWS_PER_BATCH,
            micro=ROWS_PER_BATCH // NUM_RANKS,
            ranks=NUM_RANKS,
            precision=precision,
            shape=shape,
        )
    )
    run = RunFolder(str(folder / "run"))
    run_training(OneHost(NUM_RANKS), run, str(config), [])
    lines = read_metrics(run.metrics)[WARMUP:]
    seconds = sum(line["time/step_s"] for line in lines)
    return {
        "useful tokens/s": sum(line["data/paragraphs-raw/tokens"] for line in lines) / seconds,
        "step, s": seconds / len(lines),
        "peak GiB a rank": max(line["memory_gib"] for line in lines),
        "waiting for data": sum(line["time/data_wait_s"] for line in lines) / seconds,
        "mean loss": sum(line["loss"] for line in read_metrics(run.metrics)) / steps,
    }


def run_trainer(folder: Path, kind: str, steps: int, precision: str) -> dict[str, Any]:
    """The Trainer on `kind` of data in `folder`, through the same launcher."""
    launcher = plan_launch(OneHost(NUM_RANKS), "", "", []).command[:3]
    script = Path(__file__).with_name("training_sides.py")
    options = {
        "data": str(folder / f"{kind}.npz"),
        "shape": json.dumps(SHAPE),
        "steps": str(steps),
        "warmup": str(WARMUP),
        "precision": precision,
        "result": str(folder / f"{kind}.json"),
        "batch": str(ROWS_PER_BATCH // NUM_RANKS if kind == "packed" else -1),
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    run_command([*launcher, str(script), *arguments], NUM_RANKS)
    result: dict[str, Any] = json.loads((folder / f"{kind}.json").read_text())
    return result


def main() -> int:
    """Run all sides."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ipt-training-") as name:
        folder = Path(name)
        wanted = (options.steps + 1) * ROWS_PER_BATCH * SEQ_LEN
        paragraphs = read_paragraphs(wanted)
        rows = pack_documents(paragraphs, SEQ_LEN)
        write_packed(folder / "run" / "rows", {"paragraphs-raw": [rows]}, 64, TOKENIZER)
        np.savez(folder / "packed.npz", tokens=rows.tokens)
        np.savez(
            folder / "padded.npz",
            tokens=np.concatenate(paragraphs),
            lengths=[len(ids) for ids in paragraphs],
        )
        results = {
            "ipt train": run_ours(folder, options.steps, options.precision),
            "Trainer, padded": run_trainer(folder, "padded", options.steps, options.precision),
            "Trainer, packed": run_trainer(folder, "packed", options.steps, options.precision),
        }
    print_table(
        results,
        {
            "useful tokens/s": ",.0f",
            "step, s": ".2f",
            "peak GiB a rank": ".2f",
            "waiting for data": ".2%",
            "mean loss": ".3f",
        },
    )
    speed = {name: result["useful tokens/s"] for name, result in results.items()}
    memory = {name: result["peak GiB a rank"] for name, result in results.items()}
    return conclude(
        "training",
        {
            "over_padded_trainer": at_least(speed["ipt train"] / speed["Trainer, padded"], 1.8),
            "over_packed_trainer": at_least(speed["ipt train"] / speed["Trainer, packed"], 1.0),
            "waiting_for_data": at_most(results["ipt train"]["waiting for data"], 0.005),
            "memory_of_packed_trainer": figure(memory["ipt train"] / memory["Trainer, packed"]),
        },
    )


if __name__ == "__main__":
    sys.exit(main())
