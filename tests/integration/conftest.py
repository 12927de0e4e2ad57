"""Runs of the real command line in folders of their own."""

import json
import os
import random
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline import storage
from tests.processes import DRILL, marked_processes, wait_for
from tests.tokenizers import WORDS

ROOT = Path(__file__).parents[2]
IPT = [str(Path(sys.executable).with_name("ipt"))]
NOISE = ("Traceback", "WARNING", "Warning", "ERROR")


def run_ipt(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `ipt` to its end; on another exit code than 0, show what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*IPT, *arguments], capture_output=True, text=True, env=environment, timeout=540
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture
def small_run(tmp_path: Path, tokenizer_folder: Path) -> Callable[[str], Path]:
    """Write the TOML of a run on 60 made-up texts, with the fake engine and a tiny model."""
    write_corpus(tmp_path / "corpus.jsonl")
    return lambda name: write_config(tmp_path, name, tokenizer_folder)


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A mark on every process that the test starts; nothing of them may be left at its end."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv(DRILL, mark)
    buffers = set(Path("/dev/shm").glob("deepspeed_*"))
    yield mark
    assert wait_for(lambda: not marked_processes(mark)), marked_processes(mark)
    assert set(Path("/dev/shm").glob("deepspeed_*")) <= buffers, "shared memory of the ranks"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket of a server on this machine."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    filesystem, _ = storage.locate(f"s3://{name}")
    filesystem.mkdir(name)
    yield f"s3://{name}"
    server.stop()
    filesystem.clear_instance_cache()


def write_corpus(path: Path, num_texts: int = 60) -> None:
    """Made-up texts and a line that is none."""
    choice = random.Random(0)
    with path.open("w") as file:
        for number in range(num_texts):
            text = " ".join(choice.choices(WORDS, k=choice.randint(5, 60)))
            file.write(json.dumps({"id": number, "text": f"{number} {text}."}) + "\n")
        file.write("{broken\n")


def write_config(folder: Path, name: str, model: Path) -> Path:
    """The TOML of a run `folder/name` on `folder/corpus.jsonl`."""
    path = folder / f"{name}.toml"
    path.write_text(SMALL.format(run=folder / name, corpus=folder / "corpus.jsonl", model=model))
    return path


SMALL = """
[run]
dir = "{run}"
seed = 3
[ingest]
docs_per_part = 8
[ingest.sources.made-up]
inputs = ["{corpus}"]
convert_fraction = 0.5
[synth]
model = "{model}"
protocol = "tuned"
shots_per_chain = 2
max_new_tokens = 64
max_model_len = 1024
[synth.engine]
kind = "fake"
fake.delay_s = 0.3
[synth.workers]
parts_in_flight = 2
[pack]
tokenizer = "{model}"
seq_len = 128
heldout_fraction = 0.2
rows_per_frame = 4
[mixture.weights]
made-up-raw = 1
made-up-augmented = 1
[train]
num_steps = 10
rows_per_batch = 8
micro_rows = 2
num_ranks = 2
precision = "fp32"
checkpoint_every = 3
log_every = 1
[train.optimizer]
peak_lr = 5e-3
warmup_steps = 2
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
prompt = "law"
sample_tokens = 5
"""
