"""Real ranks that train adapters: checkpoints of these alone, resumed."""

import shutil
from pathlib import Path

import pytest

from tests.integration.conftest import run_ipt, write_config
from tests.packed import random_rows, write_packed
from tests.tiny_model import save_tiny_model
from train.checkpoints.marker import read_marker, read_sidecar
from train.checkpoints.reading import CheckpointReader
from train.metrics import read_metrics

pytestmark = [pytest.mark.deepspeed, pytest.mark.slow]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `run.toml` and `run/`: four steps on two ranks, ZeRO stage 2."""
    folder = tmp_path_factory.mktemp("reference")
    base = save_tiny_model(folder / "base")
    config = write_config(folder, "run", base)
    text = config.read_text().replace("seq_len = 128", "seq_len = 32")
    text = text.replace("5e-3\nwarmup_steps = 2", "5e-2\nwarmup_steps = 0")
    before, _, after = text.partition("[train.model.shape]")
    model = f'[train.model]\ninit_from = "{base}"\n[train.lora]\nrank = 4\n'
    config.write_text(before + model + after[after.index("[export]") :])
    parts = {
        "made-up-raw": [random_rows(40, 32, 0, 250)],
        "made-up-augmented": [random_rows(40, 32, 1, 99)],
    }
    write_packed(folder / "run" / "rows", parts, 4, str(base))
    run_ipt(*arguments_of(folder, folder / "run"))
    return folder


def arguments_of(reference: Path, run: Path, *settings: str) -> list[str]:
    steps = ("train.num_steps=4", "train.checkpoint_every=2", "train.keep_checkpoints=9")
    return ["train", str(reference / "run.toml"), f"run.dir={run}", *steps, *settings]


def losses_of(run: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(str(run / "train" / "metrics.jsonl"))]


@pytest.fixture
def run(reference: Path, tmp_path: Path) -> Path:
    """A copy of that run as if it had been killed after step 3."""
    run = tmp_path / "run"
    shutil.copytree(reference / "run", run)
    (run / "train" / "manifest.json").unlink()
    (run / "train" / "part-00000000.json").unlink()
    shutil.rmtree(run / "train" / "checkpoints" / "step-00000004")
    (run / "train" / "checkpoints" / "step-00000004.json").unlink()
    return run


def test_checkpoints_hold_adapters_alone_and_go_on_elsewhere(reference: Path, run: Path) -> None:
    """From two ranks and stage 2 to one and stage 3."""
    sidecars = sorted((run / "train" / "checkpoints" / "step-00000002").glob("rank-*.json"))
    assert len(sidecars) == 2
    places = [place for path in sidecars for place in read_sidecar(path).fragments]
    names = {place.name for place in places}
    assert len(names) == 2 * 2 * 7, "two matrices beside seven weights in two layers"
    endings = (".lora_A.default.weight", ".lora_B.default.weight")
    assert all(name.endswith(endings) for name in names)
    marker = read_marker(run / "train" / "checkpoints" / "step-00000002.json")
    reader = CheckpointReader(str(run / "train" / "checkpoints"), marker)
    assert all(reader.weight(name).abs().max() > 0.01 for name in names), "B has left 0"
    settings = ("train.num_ranks=1", "train.zero_stage=3", "train.activation_checkpointing=true")
    assert "resumed from step 2" in run_ipt(*arguments_of(reference, run, *settings)).stdout
    assert losses_of(run) == pytest.approx(losses_of(reference / "run"), rel=1e-5)
