"""`ipt compare` on real Ray and DeepSpeed: two arms, two seeds, once and then again."""

import json
import random
from pathlib import Path

import pytest

from pipeline.config import read_toml
from pipeline.stage import read_manifest
from tests.integration.conftest import NOISE, run_ipt
from tests.tokenizers import WORDS

pytestmark = [pytest.mark.ray, pytest.mark.deepspeed, pytest.mark.slow]

NUM_TOKENS = 4 * 4 * 64
_CONFIG = """
[compare]
dir = "{folder}/experiment"
seeds = [1, 2]
[compare.heldout]
inputs = ["{folder}/corpus-heldout.jsonl"]
[compare.continuation]
num_questions = 16
[compare.arms.vanilla]
ingest.sources.made-up.convert_fraction = 0.0
[compare.arms.rules]
mixture.ratio = {{"*-raw" = 1, "*-augmented" = 1}}
[ingest.sources.made-up]
inputs = ["{folder}/corpus-*.jsonl"]
convert_fraction = 0.5
[synth]
protocol = "rules"
[pack]
tokenizer = "{tokenizer}"
seq_len = 64
heldout_fraction = 0.1
[train]
num_steps = 4
rows_per_batch = 4
precision = "fp32"
log_every = 1
[train.heldout]
every = 2
[train.optimizer]
peak_lr = 5e-3
warmup_steps = 1
[train.model.shape]
model_type = "llama"
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
[export]
dtype = "float32"
[eval]
tasks = ["everyday"]
limit = 8
"""


def write_texts(path: Path, num_texts: int, seed: int) -> None:
    """Texts of several sentences that rules can mine pairs from."""
    choice = random.Random(seed)
    with path.open("w") as file:
        for _ in range(num_texts):
            sentences = [
                f"The {choice.choice(WORDS)} was {choice.choice(WORDS)} because "
                f"{' '.join(choice.choices(WORDS, k=12))}."
                for _ in range(9)
            ]
            file.write(json.dumps({"text": " ".join(sentences)}) + "\n")


def compare(config: Path, *overrides: str) -> list[str]:
    shown = run_ipt("compare", str(config), *overrides).stdout
    assert not [word for word in NOISE if word in shown], shown
    return shown.splitlines()


def test_two_arms_are_compared_and_nothing_is_done_twice(
    tmp_path: Path, tokenizer_folder: Path
) -> None:
    write_texts(tmp_path / "corpus-train.jsonl", 60, seed=1)
    write_texts(tmp_path / "corpus-heldout.jsonl", 8, seed=2)
    config = tmp_path / "experiment.toml"
    config.write_text(_CONFIG.format(folder=tmp_path, tokenizer=tokenizer_folder))
    lines = compare(config)
    folder = tmp_path / "experiment"

    found = json.loads((folder / "comparison.json").read_text())
    losses = {
        arm: each["values"] for arm, each in found["measures"]["heldout_loss"]["arms"].items()
    }
    assert losses.keys() == {"vanilla", "rules"}
    for arm, values in losses.items():
        assert len(set(values)) == 2, "two seeds gave one model"
        for seed, loss in zip((1, 2), values, strict=True):
            kept = json.loads((folder / arm / f"seed-{seed}" / "heldout.json").read_text())
            assert kept["loss"] == loss
            assert 3 < loss < 7, "not the loss of an untrained model of 400 tokens"
    assert {"everyday", "heldout_continuation"} < found["measures"].keys()

    for arm in losses:
        tokens = sum(found["data"][arm]["tokens"].values())
        assert 0.8 * NUM_TOKENS < tokens <= NUM_TOKENS
    assert found["data"]["rules"]["tokens"].keys() == {"made-up-raw", "made-up-augmented"}
    assert found["data"]["vanilla"]["tokens"].keys() == {"made-up-raw"}
    for arm in losses:  # the held-out file is among the arms' inputs, on purpose
        dropped = read_manifest(str(folder / arm / "data" / "documents")).counts
        assert dropped["contaminated.heldout"] >= 8
        assert found["data"][arm]["documents_contaminated"]["heldout"] >= 8

    page = (folder / "comparison.html").read_text()
    assert ">While training<" in page
    assert found["conclusions"]["rules"] in lines
    ending = json.loads(lines[-1])
    assert ending["benchmark"] == "compare"
    mean = sum(losses["rules"]) / 2
    assert ending["bars"]["heldout_loss.rules"] == {
        "value": round(mean, 4),
        "bar": None,
        "ok": True,
    }
    run = read_toml(folder / "rules" / "seed-2" / "config.toml")["run"]
    assert run == {"dir": str(folder / "rules" / "seed-2"), "seed": 2}

    again = compare(config)
    stages = 4 + 2 * 4 + 4 * 2
    assert sum("complete already" in line for line in again) == stages
    assert not [line for line in again if line.startswith("train   step")]
    assert again[-1] == lines[-1]
