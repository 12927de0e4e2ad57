"""What `ipt compare --dry-run` says."""

from pathlib import Path

import pytest

from launch.experiment import run_compare
from pipeline.errors import InputError
from tests.unit.launch.experiment.experiments import write_experiment


def test_a_dry_run_shows_arms_budgets_and_folders(tmp_path: Path) -> None:
    path = write_experiment(tmp_path)
    lines = run_compare(path, ["train.num_steps=30"], dry_run=True)
    root = tmp_path / "experiment"
    assert lines[:2] == [
        "each training reads 7,680 tokens: 30 steps x 4 rows x 64",
        "3 arms x 2 seeds (1, 2) = 6 trainings",
    ]
    assert "arm vanilla (reference)" in lines
    shared = "; ingest as of rules; synth as of rules; filter as of rules; pack as of rules"
    assert f"  data      would write {root}/few/data{shared}" in lines
    assert f"  training  would write {root}/few/seed-2" in lines
    assert "tasks: everyday, heldout_continuation" in lines
    assert "evaluation sets kept out: everyday, heldout, heldout_continuation" in lines
    assert not root.exists()


def test_mistakes_come_before_any_work(tmp_path: Path) -> None:
    path = write_experiment(tmp_path)
    with pytest.raises(InputError, match="may not change train"):
        run_compare(path, ["compare.arms.few.train.num_steps=3"], dry_run=False)
    with pytest.raises(InputError, match="no such path"):  # the held-out texts are not there
        run_compare(path, None, dry_run=False)
    assert not (tmp_path / "experiment" / "vanilla").exists()
