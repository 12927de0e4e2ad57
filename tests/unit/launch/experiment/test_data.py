"""Which arm does which stage."""

from pathlib import Path

from launch.config import PipelineConfig
from launch.experiment import data
from launch.experiment.data import find_owners, invocation_in
from launch.experiment.folders import link_folder
from launch.stages import Invocation, Stage
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.job import run_ingest
from tests.unit.launch.experiment.experiments import small_experiment


def test_what_arms_have_in_common_is_done_once(tmp_path: Path) -> None:
    """`few` differs from `rules` in its mixture only, which no data stage reads."""
    experiment = small_experiment(tmp_path)
    owners = find_owners(experiment)
    assert set(owners["vanilla"].values()) == {"vanilla"}
    assert set(owners["rules"].values()) == {"rules"}
    assert set(owners["few"].values()) == {"rules"}


def test_stages_are_shared_up_to_the_first_difference(tmp_path: Path) -> None:
    experiment = small_experiment(tmp_path, "compare.arms.few.filter.corpus_dedup.threshold=0.9")
    assert find_owners(experiment)["few"] == {
        "ingest": "rules",
        "synth": "rules",
        "filter": "few",
        "pack": "few",
    }


def test_work_that_is_done_stays_where_it_is(tmp_path: Path, monkeypatch) -> None:
    """`few` stands after `rules`, and has done what both need; it is looked at before it is used.

    What it has done might be of settings since changed, which its own stage refuses.
    """
    experiment = small_experiment(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"text": "A text."}\n')
    few, rules = (experiment.folder.data(name).documents for name in ("few", "rules"))
    run_ingest(IngestConfig(sources=experiment.base.ingest.sources), few)
    link_folder(rules, few)
    assert find_owners(experiment)["rules"] == {
        "ingest": "few",
        "synth": "rules",
        "filter": "rules",
        "pack": "rules",
    }
    asked = []

    def run_stage(stage: Stage, invocation: Invocation[PipelineConfig]) -> None:
        asked.append((stage.name, Path(invocation.config.run.dir).parent.name))

    monkeypatch.setattr(data, "run_stage", run_stage)
    monkeypatch.setattr(data, "heldout_texts", lambda _: [])
    monkeypatch.setattr(data, "make_questions", lambda *_: [])
    monkeypatch.setattr(data, "write_task", lambda *_: None)
    data.make_data(experiment)
    assert asked[4:] == [
        *(("ingest", arm) for arm in ("vanilla", "few")),
        *((stage, arm) for stage in ("synth", "filter", "pack") for arm in ("vanilla", "rules")),
    ]
    assert Path(rules).readlink() == Path("../../few/data/documents")


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
