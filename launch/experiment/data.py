"""The data of all arms, and the held-out texts: ordinary stages, each done once.

A stage whose settings up to there are those of another arm is not done again: its folder is a link
to that of the other arm.
"""

import json
from pathlib import Path

from launch.config import PipelineConfig
from launch.experiment.arms import CONTINUATION, HELDOUT_SOURCE, Arm, Experiment, Values
from launch.experiment.continuation import make_questions, write_task
from launch.experiment.folders import link_folder, own_folder
from launch.experiment.toml_text import toml_text
from launch.stages import Invocation, run_stage, stage_named
from pipeline import storage
from pipeline.config import validate
from pipeline.contracts import decode_document
from pipeline.run_folder import RunFolder
from pipeline.shards import read_lines
from pipeline.stage import find_manifest, read_commits

DATA_STAGES = {"ingest": "ingest", "synth": "synth", "filter": "filter", "pack": "pack"}
"""Stages that make an arm's rows, and the section that each adds to what decides its output."""
CONFIG_FILE = "config.toml"


def make_data(experiment: Experiment) -> None:
    """Make the held-out rows, the task of them, and the rows of every arm.

    Raises:
        InputError: an input or leftovers of other settings cannot be used.
    """
    print("compare held-out texts", flush=True)
    invocation = invocation_in(experiment.folder.heldout, experiment.heldout.values)
    for name in DATA_STAGES:
        run_stage(stage_named(name), invocation)
    if (continuation := experiment.compare.continuation) is not None:
        texts = heldout_texts(experiment)
        questions = make_questions(texts, continuation.num_questions, continuation.seed)
        write_task(experiment.folder.tasks, CONTINUATION, questions)
        print(f"compare {CONTINUATION}: {len(questions):,} questions", flush=True)
    _make_rows(experiment)


def _make_rows(experiment: Experiment) -> None:
    """Stage by stage, so that what an arm shares is complete, and up to date, before its own."""
    owners, arms = find_owners(experiment), experiment.arms
    folders = {arm.name: experiment.folder.data(arm.name) for arm in arms}
    invocations = {arm.name: invocation_in(folders[arm.name], arm.values) for arm in arms}
    for name in DATA_STAGES:
        stage = stage_named(name)
        paths = {arm: stage.folder_of(folder) for arm, folder in folders.items()}
        for arm, invocation in invocations.items():
            if owners[arm][name] == arm:
                print(f"compare {name} of {arm}", flush=True)
                own_folder(paths[arm])
                run_stage(stage, invocation)
        for arm in invocations:
            if (owner := owners[arm][name]) != arm:
                print(f"compare {name} of {arm}: as of {owner}", flush=True)
                link_folder(paths[arm], paths[owner])


def find_owners(experiment: Experiment) -> dict[str, dict[str, str]]:
    """By arm and stage, which arm does the work of all that have the same settings up to there.

    One that has done it already, so that arms may change their order; else the first.
    """
    keys = {arm.name: _stage_keys(arm) for arm in experiment.arms}
    owners: dict[str, str] = {}
    for arm, keys_of_arm in keys.items():
        for stage, key in keys_of_arm.items():
            owner = owners.setdefault(key, arm)
            if not _has_done(experiment, owner, stage) and _has_done(experiment, arm, stage):
                owners[key] = arm
    return {
        arm: {stage: owners[key] for stage, key in keys_of_arm.items()}
        for arm, keys_of_arm in keys.items()
    }


def _stage_keys(arm: Arm) -> dict[str, str]:
    """By stage, all settings that decide what comes out of it."""
    settings = arm.config.model_dump(mode="json")
    keys, key = {}, ""
    for stage, section in DATA_STAGES.items():
        key += json.dumps([stage, settings[section]], sort_keys=True)
        keys[stage] = key
    return keys


def _has_done(experiment: Experiment, arm: str, stage: str) -> bool:
    """Whether an arm's own folder holds a complete stage."""
    path = stage_named(stage).folder_of(experiment.folder.data(arm))
    return not Path(path).is_symlink() and find_manifest(path) is not None


def invocation_in(folder: RunFolder, values: Values, seed: int = 0) -> Invocation[PipelineConfig]:
    """An ordinary run in a folder, with its TOML beside its stages.

    Args:
        folder: the run's.
        values: its settings but `[run]`.
        seed: `run.seed`.
    """
    path = storage.join(folder.root, CONFIG_FILE)
    values = {"run": {"dir": folder.root, "seed": seed}} | values
    storage.write_atomic(path, toml_text(values).encode())
    return Invocation(validate(PipelineConfig, values, path), path, [])


def heldout_texts(experiment: Experiment) -> list[str]:
    """The held-out texts in order, as ingest left them."""
    folder = experiment.folder.heldout.documents
    return [
        decode_document(line).text
        for part, commit in read_commits(folder).items()
        if Path(part).parts[0] == HELDOUT_SOURCE
        for line in read_lines(storage.join(folder, commit.shard))
    ]
