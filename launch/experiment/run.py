"""`ipt compare`: data of every arm, a training for each arm and seed, measures, a report.

    held-out texts ─▶ arms' data ─▶ for each seed, each arm: train ─▶ export ─▶ measure ─▶ report

Every step is an ordinary stage in a folder of its own, so a second start goes on where the first
one ended.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from launch.bars import bars_line
from launch.experiment.arms import Experiment, load_experiment
from launch.experiment.data import find_owners, invocation_in, make_data
from launch.experiment.folders import link_folder
from launch.experiment.measuring import Measured, Meter
from launch.experiment.page import write_page
from launch.experiment.results import Results, gather_results
from launch.experiment.tables import result_lines
from launch.stages import run_stage, stage_named
from pipeline import storage
from pipeline.kept import find_model
from pipeline.run_folder import RunFolder


def run_compare(reference: str, overrides: list[str] | None, *, dry_run: bool) -> list[str]:
    """Run an experiment from wherever it stands.

    Args:
        reference: its TOML, or the name of a preset in `launch/configs/compare/`.
        overrides: settings `section.key=value` over those of the file.
        dry_run: only say what would be done.

    Returns:
        Lines to show at the end: the table, what the evidence supports, one line of JSON.

    Raises:
        InputError: the experiment cannot be run as it is, or leftovers of other settings are there.
    """
    experiment = load_experiment(reference, overrides or [])
    if dry_run:
        return list(plan_lines(experiment))
    _check_tasks(experiment)
    _check_models(experiment)
    folder = experiment.folder
    with storage.exclusive(folder.root):
        make_data(experiment)
        results = gather_results(experiment, _train_and_measure(experiment))
        data = json.dumps(results.as_json(), indent=1, ensure_ascii=False)
        storage.write_atomic(folder.comparison, data.encode())
        write_page(results, Path(folder.root).name, folder.page)
    return [
        *result_lines(results),
        f"figures: {folder.comparison}",
        f"page: {folder.page}",
        _last_line(results),
    ]


def plan_lines(experiment: Experiment) -> Iterator[str]:
    """Arms, budgets and folders of an experiment."""
    train, pack = experiment.base.train, experiment.base.pack
    seeds = experiment.compare.seeds
    yield (
        f"each training reads {experiment.tokens_per_training:,} tokens: {train.num_steps:,} steps "
        f"x {train.rows_per_batch} rows x {pack.seq_len}"
    )
    yield (
        f"{len(experiment.arms)} arms x {len(seeds)} seeds "
        f"({', '.join(map(str, seeds))}) = {len(experiment.arms) * len(seeds)} trainings"
    )
    owners = find_owners(experiment)
    for arm in experiment.arms:
        is_reference = arm.name == experiment.compare.reference
        yield f"arm {arm.name}{' (reference)' if is_reference else ''}"
        shared = {stage: by for stage, by in owners[arm.name].items() if by != arm.name}
        links = "".join(f"; {stage} as of {by}" for stage, by in shared.items())
        yield f"  data      would write {experiment.folder.data(arm.name).root}{links}"
        yield f"  mixture   {arm.config.mixture.describe()}"
        for seed in seeds:
            yield f"  training  would write {experiment.folder.training(arm.name, seed).root}"
    names = [name for config in experiment.tasks for name in config.tasks]
    yield f"held-out texts: would write {experiment.folder.heldout.root}"
    yield f"tasks: {', '.join(names) or 'none'}"
    yield f"evaluation sets kept out: {', '.join(experiment.base.ingest.decontamination.sets)}"
    yield f"would write {experiment.folder.comparison} and {experiment.folder.page}"


def _check_tasks(experiment: Experiment) -> None:
    """Refuse tasks that the evaluation to come would not know; those made here are made later.

    Raises:
        InputError: a task is unknown, or the harness is not installed.
    """
    from train.harness import Tasks

    for config in experiment.tasks:
        if config.task_folder != experiment.folder.tasks:
            Tasks(config)


def _check_models(experiment: Experiment) -> None:
    """Refuse a synthesizer that is not there, before any arm's data is made.

    Raises:
        InputError: names the model.
    """
    for arm in experiment.arms:
        synth = arm.config.synth
        if synth.protocol != "rules" and synth.engine.kind == "vllm":
            find_model(synth.model)


def _train_and_measure(experiment: Experiment) -> dict[str, Sequence[Measured]]:
    """By arm, the measures of its models in the order of the seeds."""
    meter = Meter(experiment)
    measured: dict[str, list[Measured]] = {arm.name: [] for arm in experiment.arms}
    # Seed by seed, so that what is there after half the time says something of every arm.
    for seed in experiment.compare.seeds:
        for arm in experiment.arms:
            print(f"compare training of {arm.name}, seed {seed}", flush=True)
            folder = experiment.folder.training(arm.name, seed)
            link_folder(folder.rows, experiment.folder.data(arm.name).rows)
            invocation = invocation_in(folder, arm.values, seed)
            for stage in ("train", "export"):
                run_stage(stage_named(stage), invocation)
            found = meter.measure(folder)
            measured[arm.name].append(found)
            print(f"compare {_described(folder, found)}", flush=True)
    return dict(measured)


def _described(folder: RunFolder, found: Measured) -> str:
    scores = [f"{task} {score.main()[1].text()}" for task, score in found.scores.items()]
    return f"{folder.root}: " + ", ".join([f"held-out loss {found.loss:.4f}", *scores])


def _last_line(results: Results) -> str:
    import torch

    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return bars_line("compare", results.bars(), accelerator)
