"""Which arm does which stage."""

from pathlib import Path

from launch.experiment.data import find_owners, invocation_in
from tests.unit.launch.experiment.experiments import small_experiment


def test_what_arms_have_in_common_is_done_once(tmp_path: Path) -> None:
    """`few` differs from `rules` in its mixture only, which no data stage reads."""
    experiment = small_experiment(tmp_path)
    owners = find_owners(experiment.arms)
    assert set(owners["vanilla"].values()) == {"vanilla"}
    assert set(owners["rules"].values()) == {"rules"}
    assert set(owners["few"].values()) == {"rules"}


def test_stages_are_shared_up_to_the_first_difference(tmp_path: Path) -> None:
    experiment = small_experiment(tmp_path, "compare.arms.few.filter.corpus_dedup.threshold=0.9")
    assert find_owners(experiment.arms)["few"] == {
        "ingest": "rules",
        "synth": "rules",
        "filter": "few",
        "pack": "few",
    }


def test_every_run_can_be_started_by_itself(tmp_path: Path) -> None:
    from launch.references import invocation_of

    experiment = small_experiment(tmp_path)
    arm = experiment.arms[1]
    folder = experiment.folder.training("rules", 2)
    invocation = invocation_in(folder, arm.values, 2)
    assert invocation.config_path == f"{folder.root}/config.toml"
    again = invocation_of(invocation.config_path, []).config
    assert again == invocation.config
    assert (again.run.dir, again.run.seed) == (folder.root, 2)
    assert again.mixture == arm.config.mixture
