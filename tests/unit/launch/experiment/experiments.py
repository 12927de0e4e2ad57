"""TOMLs of small experiments."""

from pathlib import Path

from launch.experiment.arms import Experiment, load_experiment

SMALL = """
[compare]
dir = "{folder}/experiment"
seeds = [1, 2]
[compare.heldout]
inputs = ["{folder}/heldout.jsonl"]
[compare.continuation]
num_questions = 8
[compare.arms.vanilla]
ingest.sources.a.convert_fraction = 0.0
[compare.arms.rules]
mixture.weights = {{ a-raw = 3, a-augmented = 1 }}
[compare.arms.few]
mixture.weights = {{ a-raw = 9, a-augmented = 1 }}
[ingest.sources.a]
inputs = ["{folder}/a.jsonl"]
convert_fraction = 0.5
[synth]
protocol = "rules"
[pack]
tokenizer = "none"
seq_len = 64
[train]
num_steps = 10
rows_per_batch = 4
[train.model.shape]
model_type = "llama"
[eval]
tasks = ["everyday"]
"""


def write_experiment(folder: Path, *changes: tuple[str, str]) -> str:
    """Path of the small experiment's TOML, with texts of it replaced."""
    text = SMALL.format(folder=folder)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "experiment.toml"
    path.write_text(text)
    return str(path)


def small_experiment(folder: Path, *overrides: str) -> Experiment:
    return load_experiment(write_experiment(folder), overrides)
