"""Which stages a run has, by its config and by its folder, and what is said of a complete one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launch import stages
from launch.config import TrainingRunConfig, TuneConfig
from launch.over_ssh import OverSsh
from launch.references import invocation_of
from launch.stages import (
    STAGES,
    Invocation,
    Stage,
    describe,
    run_all,
    run_stage,
    run_tuning,
    stage_named,
    stages_in,
    stages_of,
)
from pipeline.errors import InputError, StaleStageError
from pipeline.opening import open_stage
from pipeline.run_folder import RunFolder
from pipeline.stage import Manifest
from tests.tuning_run import write_task_data, write_tasks

WRITING = ["ingest", "synth", "filter"]
TUNING = ["tasks", "pack", "train", "export"]


def tuning(folder: Path, **sections: Any) -> TuneConfig:
    values = {
        "run": {"dir": str(folder)},
        "pack": {"tokenizer": "m"},
        "train": {"num_steps": 1, "rows_per_batch": 1, "model": {"init_from": "m"}},
    }
    return TuneConfig.model_validate({**values, **sections})


def names(stages: tuple[Stage, ...]) -> list[str]:
    return [stage.name for stage in stages]


def test_the_stages_of_a_config(tmp_path: Path) -> None:
    pre_training: TrainingRunConfig = invocation_of("quickstart", None).config
    assert stages_of(pre_training) == STAGES
    tasks = {"sources": {"squad": {"inputs": ["squad.json"], "format": "squad"}}}
    assert names(stages_of(tuning(tmp_path, tasks=tasks))) == TUNING
    own = tuning(
        tmp_path,
        ingest={"sources": {"mine": {"inputs": ["mine.jsonl"]}}},
        synth={"model": "m", "protocol": "rules"},
    )
    assert names(stages_of(own)) == WRITING + TUNING
    assert len(set(names(stages_of(own)))) == len(WRITING + TUNING)


def test_the_stages_that_a_folder_holds(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path))
    assert stages_in(folder) == STAGES
    open_stage(folder.tasks, "tasks", {}, {})
    assert names(stages_in(folder)) == TUNING
    open_stage(folder.documents, "ingest", {}, {})
    assert names(stages_in(folder)) == WRITING + TUNING


def test_task_data_are_packed_by_a_stage_of_their_own(tmp_path: Path) -> None:
    open_stage(RunFolder(str(tmp_path)).tasks, "tasks", {}, {})
    stages = stages_in(RunFolder(str(tmp_path)))
    assert stage_named("pack", stages) != stage_named("pack")
    assert stage_named("train", stages) == stage_named("train")
    assert stage_named("tasks", stages).folder_of(RunFolder("/r")) == "/r/tasks"


def test_a_stage_that_a_run_has_not_is_refused_with_those_it_has(tmp_path: Path) -> None:
    tasks = {"sources": {"squad": {"inputs": ["squad.json"], "format": "squad"}}}
    stages = stages_of(tuning(tmp_path, tasks=tasks))
    with pytest.raises(InputError) as caught:
        stage_named("synth", stages)
    assert str(caught.value) == "stage 'synth': this run has tasks, pack, train, export"
    with pytest.raises(InputError, match="this run has ingest, synth, filter, pack, train"):
        stage_named("tasks")


def test_task_data_are_described_by_what_they_hold(tmp_path: Path) -> None:
    contexts = {"race": ["A", "B", ""], "squad": ["C"]}
    inputs = write_task_data(tmp_path / "ft.jsonl", contexts)
    manifest = write_tasks(RunFolder(str(tmp_path)), inputs)
    assert describe(manifest) == "3 examples, 3 pairs, 2 data sets, 1 dropped"


def test_the_stage_tasks_writes_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inputs = write_task_data(tmp_path / "ft.jsonl", {"race": ["A", "B"]})
    tasks = {"sources": {"all": {"inputs": [inputs], "format": "collection"}}}
    invocation = Invocation(tuning(tmp_path / "run", tasks=tasks), "t.toml", ())
    stage = stage_named("tasks", stages_of(invocation.config))
    assert run_stage(stage, invocation) == run_stage(stage, invocation)
    said = "2 examples, 2 pairs, 1 data sets, 0 dropped"
    lines = capsys.readouterr().out.splitlines()
    wanted = [f"tasks   complete: {said}", f"tasks   complete already: {said}"]
    assert [line for line in lines if "complete" in line] == wanted


@pytest.mark.parametrize(
    ("fields", "is_redone"),
    [
        (["inputs.self-synthetic/stage/0"], True),
        (["inputs.self-synthetic/stage/0", "inputs.squad/00000"], False),
        (["inputs.squad/00000"], False),
        (["inputs.decontamination"], False),
    ],
)
def test_task_data_are_redone_for_pairs_made_anew_never_for_changed_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: list[str], is_redone: bool
) -> None:
    inputs = write_task_data(tmp_path / "ft.jsonl", {"race": ["A text."]})
    sources = {"race": {"inputs": [inputs], "format": "collection"}}
    config = tuning(tmp_path / "run", tasks={"sources": sources})
    folder = Path(config.folder.tasks)
    write_tasks(config.folder, inputs)

    def run(_: object) -> Manifest:
        if folder.exists():
            raise StaleStageError("stale", fields)
        return write_tasks(config.folder, inputs)

    stage = Stage("tasks", lambda run: run.tasks, run)
    monkeypatch.setattr(stages, "stages_of", lambda _: (stage,))
    (folder / "written-before").touch()
    if is_redone:
        run_tuning(Invocation(config, "t.toml", ()))
    else:
        with pytest.raises(StaleStageError):
            run_tuning(Invocation(config, "t.toml", ()))
    assert (folder / "written-before").exists() is not is_redone


def test_hosts_that_training_could_not_use_are_refused_before_any_stage(tmp_path: Path) -> None:
    hostfile = tmp_path / "hosts"
    hostfile.write_text("a slots=1\n")
    invocation = invocation_of("quickstart", [f"run.dir={tmp_path / 'run'}", "eval.prompt=it's"])
    with pytest.raises(InputError, match="would pass through the shells of other hosts"):
        run_all(replace(invocation, placement=OverSsh(hostfile)))
    assert not (tmp_path / "run" / "documents").exists()
