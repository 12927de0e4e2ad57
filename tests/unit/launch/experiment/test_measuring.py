"""What a model is measured by is kept, and is measured anew where it changed."""

import json
import math
from pathlib import Path

import pytest

from launch.experiment.measuring import Meter
from pipeline.ingest.job import run_ingest
from pipeline.run_folder import RunFolder
from pipeline.stage import read_manifest
from tests.packed import random_rows, write_packed
from tests.tiny_model import save_tiny_model
from tests.unit.launch.experiment.experiments import small_experiment


@pytest.fixture
def meter_of(tmp_path: Path):
    """A meter of an experiment whose held-out rows are random tokens."""
    (tmp_path / "heldout.jsonl").write_text(json.dumps({"text": "x" * 99 + "\u00e9"}) + "\n")
    experiment = small_experiment(tmp_path, "eval.tasks=[]")
    experiment = experiment.__class__(
        experiment.compare, experiment.arms, experiment.heldout, tasks=()
    )
    folder = experiment.folder.heldout
    run_ingest(experiment.heldout.config.ingest, folder.documents)
    write_packed(
        Path(folder.rows), {"heldout-raw": [random_rows(3, 32, 1, 400)]}, 2, split="heldout"
    )
    return lambda: Meter(experiment)


def test_losses_are_kept(meter_of, tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path / "run"))
    save_tiny_model(Path(folder.hf))
    measured = meter_of().measure(folder)
    assert 5 < measured.loss < 8, "random weights know nothing of 512 tokens"
    assert measured.perplexity == pytest.approx(math.exp(measured.loss))
    # 3 rows of 31 predicted tokens over 101 bytes.
    assert measured.bits_per_byte == pytest.approx(measured.loss / math.log(2) * 93 / 101)
    kept = tmp_path / "run" / "heldout.json"
    values = json.loads(kept.read_text())
    assert values["tokens"] == 3 * 31
    assert values["rows"] == read_manifest(str(tmp_path / "experiment/heldout/rows")).input_key()

    kept.write_text(json.dumps(values | {"loss": 1.0}))
    assert meter_of().measure(folder).loss == 1.0
    for changed in ({"model": "other"}, {"rows": "other"}, {"document_mask": False}):
        kept.write_text(json.dumps(values | {"loss": 1.0} | changed))
        assert meter_of().measure(folder).loss == measured.loss
