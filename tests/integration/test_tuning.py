"""A synthesizer tuned by the real command line: task data and a run's own pairs, Ray, DeepSpeed."""

import json
from pathlib import Path

import pytest

from tests.integration.conftest import run_ipt, write_corpus
from tests.tiny_model import save_tiny_model
from tests.tokenizers import WORDS

pytestmark = [pytest.mark.deepspeed, pytest.mark.ray, pytest.mark.slow]

CONFIG = """
[run]
dir = "{folder}/run"
[ingest.sources.made-up]
inputs = ["{folder}/corpus.jsonl"]
[synth]
protocol = "rules"
model = "{base}"
[tasks.sources.squad]
inputs = ["{folder}/squad.json"]
format = "squad"
[pack]
tokenizer = "{base}"
seq_len = 256
heldout_fraction = 0.3
[train]
num_steps = 4
rows_per_batch = 4
num_ranks = 2
precision = "fp32"
[train.model]
init_from = "{base}"
[train.lora]
rank = 4
[tune_eval]
max_examples = 6
shots = [0, 1]
max_new_tokens = 32
max_model_len = 512
[tune_eval.engine]
kind = "fake"
"""


def write_squad(path: Path) -> None:
    """Forty paragraphs of three questions."""
    paragraphs = []
    for number in range(40):
        words = [WORDS[(number * 7 + place) % len(WORDS)] for place in range(12)]
        qas = [
            {"question": f"Which word is number {n}?", "answers": [{"text": words[n]}]}
            for n in range(3)
        ]
        paragraphs.append({"context": f"{' '.join(words)} {number}.", "qas": qas})
    path.write_text(json.dumps({"data": [{"title": "all", "paragraphs": paragraphs}]}))


def test_a_synthesizer_is_tuned_measured_and_done_once(tmp_path: Path) -> None:
    base = save_tiny_model(tmp_path / "base")
    write_corpus(tmp_path / "corpus.jsonl")
    write_squad(tmp_path / "squad.json")
    config = tmp_path / "tune.toml"
    config.write_text(CONFIG.format(folder=tmp_path, base=base))
    run = tmp_path / "run"

    shown = run_ipt("tune", str(config)).stdout
    assert (run / "hf" / "model.safetensors").is_file()
    assert (run / "hf" / "adapter" / "adapter_model.safetensors").is_file()
    sources = {path.name for path in (run / "rows").iterdir() if path.is_dir()}
    assert sources == {"made-up-tasks", "squad-tasks"}, shown
    status = run_ipt("status", str(config)).stdout
    assert status.count(" complete: ") == len(
        ["ingest", "synth", "filter", "tasks", "pack", "train", "export"]
    )
    assert "lost=0 duplicated=0" in run_ipt("audit", str(run)).stdout
    again = run_ipt("tune", str(config)).stdout
    assert again.count("complete already") == status.count(" complete: ")

    table = run_ipt("tune-eval", str(config)).stdout
    assert "categories" in table
    measured = json.loads((run / "eval" / "synthesizers.json").read_text())
    models = [(one["model"], one["shots"]) for one in measured["measurements"]]
    assert models == [(m, shots) for shots in (0, 1) for m in (str(base), str(run / "hf"))]
    assert (run / "eval" / "synthesizers.html").stat().st_size > 10_000
