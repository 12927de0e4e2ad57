"""Training on one GPU: MFU, what each speed-up brings, memory, checkpoint stall, parity.

    python tests/benchmarks/training_gpu.py
    python tests/benchmarks/training_gpu.py --smoke      tiny shapes, on a CPU too

The paper's 500M and 1.3B shapes train from scratch in bf16 on packed rows of 2,048 made-up tokens,
documents of all lengths among them, by `train/pretrain.py` as a user starts it. One setting after
the other is then taken away from the 500M run. Every attention backend that the device has computes
the losses of the same packed rows. Weights and data are random: speed does not depend on them.
With `--folder` results stay there, and a later start goes on with what is missing. Ends in one JSON
line; exit code 1 if a bar is missed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.rows import RowBlock
from tests.benchmarks.bars import at_least, at_most, conclude, figure, print_table
from tests.packed import pack_documents, write_packed
from tests.tokenizers import save_tokenizer
from train.metrics import read_metrics

ROOT = Path(__file__).resolve().parents[2]
VOCABULARY, WARMUP = 32_000, 4
BASE = [
    "train.precision=bf16",
    "train.optimizer.warmup_steps=2",
    "train.optimizer.peak_lr=1e-4",
    "train.checkpoint_every=100000",
    "train.log_every=1",
    "train.zero_stage=1",
]
ABLATIONS = {
    "500M": [],
    "without torch.compile": ["train.compile=false"],
    "flex attention": ["train.model.attention=flex"],
    "sdpa with a dense mask": ["train.model.attention=sdpa"],
    "without the document mask": ["train.document_mask=false"],
    "logits in large chunks": ["train.loss.chunk_tokens=8192"],
    "activation checkpointing": ["train.activation_checkpointing=true"],
}
LARGE, SAVING = "1.3B", "1.3B, saving"
RUNS = (*ABLATIONS, LARGE, SAVING)
CONFIG = """
[run]
dir = "{run}"
[train]
num_steps = 1
rows_per_batch = 1
[train.model]
preset = "{preset}"
"""


def made_up_rows(num_rows: int, seq_len: int) -> RowBlock:
    """Rows of documents whose lengths spread as those of web pages do (log-normal)."""
    random = np.random.default_rng(0)
    lengths = np.clip(random.lognormal(5.8, 1.0, num_rows * 8), 16, seq_len).astype(int)
    lengths = lengths[: np.searchsorted(np.cumsum(lengths), num_rows * seq_len)]
    documents = [random.integers(3, VOCABULARY, length, dtype="u2") for length in lengths]
    return pack_documents(documents, seq_len)


def train(folder: Path, name: str, preset: str, settings: list[str]) -> dict[str, float]:
    """A short run of `train/pretrain.py`; kept in `folder` when it is done."""
    result = folder / f"{name.replace(' ', '-')}.json"
    if result.exists():
        found: dict[str, float] = json.loads(result.read_text())
        return found
    run = folder / name.replace(" ", "-")
    config = folder / f"{run.name}.toml"
    config.write_text(CONFIG.format(run=run, preset=preset))
    run.mkdir(exist_ok=True)
    if not (run / "rows").exists():
        (run / "rows").symlink_to(folder / "rows")
    command = [sys.executable, str(ROOT / "train" / "pretrain.py"), str(config), *BASE, *settings]
    environment = dict(os.environ, MASTER_PORT="29577", TRANSFORMERS_VERBOSITY="error")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name} failed:\n{done.stdout[-1500:]}{done.stderr[-1500:]}", flush=True)
        return {}
    lines = read_metrics(str(run / "train" / "metrics.jsonl"))[WARMUP:]
    steps = sorted(line["time/step_s"] for line in lines)
    median = steps[len(steps) // 2]
    stalls = [line["time/checkpoint_s"] for line in lines if line["time/checkpoint_s"]]
    found = {
        "tokens/s": lines[-1]["perf/tokens_per_s"] * lines[-1]["time/step_s"] / median,
        "step, s": median,
        "peak GiB": max(line["memory_gib"] for line in lines),
        "waiting": sum(line["time/data_wait_s"] for line in lines) / sum(steps),
        "attention saved": lines[-1]["perf/attention_saved"],
        "last loss": lines[-1]["loss"],
    }
    if "perf/mfu" in lines[-1]:
        found["MFU"] = lines[-1]["perf/mfu"] * lines[-1]["time/step_s"] / median
    if stalls:
        found["checkpoint stall, s"] = max(stalls[1:] or stalls)
    result.write_text(json.dumps(found))
    print(f"{name}: {found}", flush=True)
    return found


def largest_difference(rows: RowBlock, is_smoke: bool) -> dict[str, float]:
    """By backend and type: how far tokens' losses are from those of eager attention in fp32."""
    import torch

    from pipeline.loader.batch import make_batch
    from train.attention import implementation_of
    from train.config import ModelConfig
    from train.model import ModelInputs, PackedCausalLM, build_model

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shape = {"model_type": "llama", "hidden_size": 256, "intermediate_size": 512}
    shape |= {"num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 8}
    with tempfile.TemporaryDirectory() as name:
        tokenizer = str(save_tokenizer(Path(name)))
        config = ModelConfig(shape=shape | {"vocab_size": VOCABULARY}, attention="eager")
        model = build_model(config, tokenizer, seed=1).to(device).eval()
    batch = make_batch(rows.slice(0, 1 if is_smoke else 4), np.zeros(1 if is_smoke else 4))
    losses, found = {}, {}
    cases = [("eager", torch.float32), ("sdpa", torch.float32)]
    cases += [("flex", torch.float32)] if device.type == "cuda" else [("varlen", torch.float32)]
    cases += [(each, torch.bfloat16) for each in ("eager", "sdpa", "varlen")]
    cases += [("flex", torch.bfloat16)] if device.type == "cuda" else []
    for backend, dtype in cases:
        model.set_attn_implementation(implementation_of(backend))  # type: ignore[arg-type]
        with torch.no_grad():
            _, each = PackedCausalLM(model.to(dtype))(ModelInputs.of(batch, device))
        losses[backend, dtype] = each.double()
        of = losses["eager", torch.float32]
        found[f"{backend} {str(dtype)[6:]}"] = float((each.double() - of).abs().max())
    return found


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="tiny shapes, few steps")
    parser.add_argument("--folder", type=Path, help="keep results here")
    parser.add_argument("--only", nargs="+", metavar="RUN", help=f"of {', '.join(RUNS)}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ipt-training-gpu-") as name:
        folder = options.folder or Path(name)
        return measure(folder, options.smoke, options.only or RUNS)


def measure(folder: Path, is_smoke: bool, wanted: Sequence[str]) -> int:
    """The wanted runs, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    seq_len, num_rows = (64, 64) if is_smoke else (2048, 512)
    rows = made_up_rows(num_rows, seq_len)
    if not (folder / "rows").exists():
        tokenizer = save_tokenizer(folder / "tokenizer")
        write_packed(folder / "rows", {"made-up-raw": [rows]}, 16, str(tokenizer))
    vocabulary = [f"train.model.shape.vocab_size={VOCABULARY}"]
    if is_smoke:
        small = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
        small |= {"num_attention_heads": 4, "num_key_value_heads": 4}
        vocabulary += [f"train.model.shape.{key}={value}" for key, value in small.items()]
    batch = ["train.rows_per_batch=4", "train.micro_rows=2", "train.num_steps=8"]
    large = ["train.rows_per_batch=64", "train.micro_rows=16", "train.num_steps=14"]
    larger = ["train.rows_per_batch=32", "train.micro_rows=8", "train.num_steps=14"]
    common = [
        *vocabulary,
        *(batch if is_smoke else large),
        f"train.compile={json.dumps(not is_smoke)}",
    ]
    results = {
        label: train(folder, label, "mistral-500m", [*common, *settings])
        for label, settings in ABLATIONS.items()
        if label in wanted and not (is_smoke and label == "flex attention")
    }
    large_run = [*common, *(batch if is_smoke else larger)]
    saves = ["train.checkpoint_every=3", "train.keep_checkpoints=1"]
    for label, settings in ((LARGE, []), (SAVING, saves)):
        if label in wanted:
            results[label] = train(folder, label, "mistral-1.3b", [*large_run, *settings])
    columns = {"tokens/s": ",.0f", "MFU": ".1%", "step, s": ".3f", "peak GiB": ".1f"}
    columns |= {"waiting": ".2%", "attention saved": ".1%", "checkpoint stall, s": ".2f"}
    print_table(results, columns)
    parity = largest_difference(rows, is_smoke)
    print("largest difference of a token's loss from eager in fp32:", parity)
    return conclude("training_gpu", bars_of(results, parity, is_smoke), _accelerator())


def bars_of(
    results: dict[str, dict[str, float]], parity: dict[str, float], is_smoke: bool
) -> dict[str, dict[str, Any]]:
    """What was measured against what is asked; a smoke run is asked for parity alone."""
    fp32 = max(value for name, value in parity.items() if name.endswith("float32"))
    bars = {"parity_fp32": at_most(fp32, 1e-4), "parity_bf16": figure(max(parity.values()))}
    if saving := results.get(SAVING):
        stall = saving["checkpoint stall, s"] / saving["step, s"]
        bars["checkpoint_stall_in_steps"] = figure(stall) if is_smoke else at_most(stall, 1.0)
    if not is_smoke:
        bars["mfu_500m"] = at_least(results.get("500M", {}).get("MFU", 0.0), 0.45)
        large = results.get(LARGE) or results.get(SAVING) or {}
        bars["mfu_1_3b"] = at_least(large.get("MFU", 0.0), 0.52)
        bars["waiting_for_data"] = at_most(results.get("500M", {}).get("waiting", 1.0), 0.005)
    return bars


def _accelerator() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


if __name__ == "__main__":
    sys.exit(main())
