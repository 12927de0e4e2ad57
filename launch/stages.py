"""The stages in order, each as one call; `run_all` goes through them and redoes what is stale."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from launch.config import SELF_SYNTHETIC, PipelineConfig, TrainingRunConfig, TuneConfig
from launch.placement import OneHost, Placement
from pipeline import storage
from pipeline.errors import InputError, JobFailedError, StaleStageError
from pipeline.run_folder import RunFolder
from pipeline.stage import Manifest, find_identity, find_manifest, read_manifest

ConfigT = TypeVar("ConfigT", bound=TrainingRunConfig, covariant=True)


@dataclass(frozen=True)
class Invocation(Generic[ConfigT]):
    """A run's config and the command line it came from, which training passes on."""

    config: ConfigT
    config_path: str
    overrides: Sequence[str]
    placement: Placement | None = None
    """Where training has its ranks; none: `train.num_ranks` of them on this machine."""


@dataclass(frozen=True)
class Stage:
    """One stage: its name, its folder in a run, and what does its work."""

    name: str
    folder_of: Callable[[RunFolder], str]
    run: Callable[[Invocation[Any]], Manifest]


def _ingest(invocation: Invocation[PipelineConfig]) -> Manifest:
    from pipeline.ingest.job import run_ingest

    config = invocation.config
    return run_ingest(config.ingest, config.folder.documents, config.run.allow_append)


def _synth(invocation: Invocation[PipelineConfig]) -> Manifest:
    from synth.job import run_synth

    config, folder = invocation.config, invocation.config.folder
    return run_synth(
        config.synth,
        folder.documents,
        folder.augmented,
        folder.worker_logs,
        config.run.allow_append,
    )


def _filter(invocation: Invocation[PipelineConfig]) -> Manifest:
    from synth.filtering import run_filter

    config, folder = invocation.config, invocation.config.folder
    return run_filter(
        config.filter,
        config.ingest.decontamination,
        folder.documents,
        folder.augmented,
        folder.filtered,
        config.run.allow_append,
    )


def _pack(invocation: Invocation[PipelineConfig]) -> Manifest:
    from pipeline.packing.job import run_pack
    from pipeline.packing.worker import PackInputs
    from synth.templates import ChainRenderer

    config, folder = invocation.config, invocation.config.folder
    inputs = PackInputs(folder.documents, folder.filtered)
    render = ChainRenderer(config.pack.template_folder)
    return run_pack(
        config.pack, inputs, folder.rows, render, folder.worker_logs, config.run.allow_append
    )


def require_local(invocation: Invocation[TrainingRunConfig], stage: str) -> None:
    """Refuse a URI where files have to be appended to or memory-mapped.

    Args:
        invocation: the run.
        stage: that wants to, for the message.

    Raises:
        InputError: the run's folder is a URI.
    """
    root = invocation.config.folder.root
    if not storage.is_local(root):
        raise InputError(
            f"run.dir ({root}): the {stage} stage needs a file system that all nodes share; copy "
            f"the run there and set run.dir to it"
        )


def require_tasks(invocation: Invocation[PipelineConfig]) -> None:
    """Refuse tasks that the evaluation to come would not know.

    Raises:
        InputError: a task is unknown, or the harness is not installed.
    """
    config = invocation.config
    if config.eval.tasks and find_manifest(config.folder.eval) is None:
        from train.harness import Tasks

        Tasks(config.eval)


def _train(invocation: Invocation[TrainingRunConfig]) -> Manifest:
    from launch.deepspeed import run_training
    from train.identity import open_train_stage

    require_local(invocation, "train")
    config, folder = invocation.config, invocation.config.folder
    rows = read_manifest(folder.rows)
    # Opened here already, so that leftovers of another config are refused before ranks start.
    stage = open_train_stage(config.train, config.mixture, config.run, rows)
    if done := stage.finished():
        return done
    placement = invocation.placement or OneHost(config.train.num_ranks)
    run_training(placement, folder, invocation.config_path, invocation.overrides)
    return read_manifest(folder.train)


def _export(invocation: Invocation[TrainingRunConfig]) -> Manifest:
    from train.export import run_export

    require_local(invocation, "export")
    config = invocation.config
    return run_export(config.export, config.train.model, config.folder)


def export_checkpoint(
    invocation: Invocation[TrainingRunConfig],
    step: int | None,
    output: Path | None,
    *,
    dry_run: bool,
) -> None:
    """Write the model of one checkpoint, of a training that may be under way, to a new folder.

    Args:
        invocation: the run.
        step: of the checkpoint; None: the newest.
        output: the folder.
        dry_run: only say what would be written.

    Raises:
        InputError: no folder was given, it exists, or there is no such checkpoint.
    """
    from train.export import export_step, find_checkpoint

    require_local(invocation, "export")
    if output is None:
        raise InputError(f"--step {step} needs --output, the folder to write the model to")
    config = invocation.config
    if dry_run:
        print(f"would write {output} from step {find_checkpoint(config.folder, step).step}")
        return
    marker = export_step(config.export, config.train.model, config.folder, step, output)
    print(f"export  step {marker.step}: {output}")


def _eval(invocation: Invocation[PipelineConfig]) -> Manifest:
    from train.evaluate import run_eval

    require_local(invocation, "eval")
    config = invocation.config
    return run_eval(config.eval, config.folder, config.train.model.attention)


def _tasks(invocation: Invocation[TuneConfig]) -> Manifest:
    from synth.task_data.job import run_tasks

    return run_tasks(invocation.config.all_tasks(), invocation.config.folder.tasks)


def _pack_tasks(invocation: Invocation[TuneConfig]) -> Manifest:
    from pipeline.packing.job import run_pack
    from pipeline.packing.worker import PackInputs
    from synth.wire import WireRenderer

    config, folder = invocation.config, invocation.config.folder
    inputs = PackInputs(tasks=folder.tasks)
    return run_pack(config.pack, inputs, folder.rows, WireRenderer(), folder.worker_logs)


STAGES = (
    Stage("ingest", lambda run: run.documents, _ingest),
    Stage("synth", lambda run: run.augmented, _synth),
    Stage("filter", lambda run: run.filtered, _filter),
    Stage("pack", lambda run: run.rows, _pack),
    Stage("train", lambda run: run.train, _train),
    Stage("export", lambda run: run.hf, _export),
    Stage("eval", lambda run: run.eval, _eval),
)
_WRITING, _TRAINING = STAGES[:3], STAGES[4:6]
_TUNING = (
    Stage("tasks", lambda run: run.tasks, _tasks),
    Stage("pack", lambda run: run.rows, _pack_tasks),
    *_TRAINING,
)


def stages_of(config: TrainingRunConfig) -> tuple[Stage, ...]:
    """The stages of a run, in order."""
    if not isinstance(config, TuneConfig):
        return STAGES
    return _TUNING if config.synth is None else (*_WRITING, *_TUNING)


def stages_in(folder: RunFolder) -> tuple[Stage, ...]:
    """The stages of the run that a folder holds, in order; a tuning shows by its task data."""
    if find_identity(folder.tasks) is None:
        return STAGES
    return _TUNING if find_identity(folder.documents) is None else (*_WRITING, *_TUNING)


_INPUTS = {
    "synth": {"documents": "ingest"},
    "filter": {"documents": "ingest", "augmented": "synth"},
    "tasks": {f"{SELF_SYNTHETIC}/stage/0": "filter"},
    "pack": {"documents": "ingest", "augmented": "filter", "tasks": "tasks"},
    "train": {"rows": "pack"},
    "export": {"train": "train"},
    "eval": {"hf": "export"},
}
"""Inputs of each stage by name, and the stage that makes each."""
_READS_FILES = ("ingest", "tasks")
"""Stages whose inputs are files of the user's."""


def outdated_inputs(manifest: Manifest, made: Mapping[str, Manifest]) -> list[str]:
    """What of a complete stage's inputs has changed since, a line each.

    Args:
        manifest: the stage's.
        made: manifests of stages that are complete, by name.
    """
    problems = []
    for name, made_by in _INPUTS.get(manifest.stage, {}).items():
        try:
            # Rows that have grown do not make a complete training outdated.
            if made_by in made and name in manifest.inputs:
                manifest.require_input(name, made[made_by], or_grown=manifest.stage == "train")
        except StaleStageError as error:
            problems.append(str(error))
    return problems


def stage_named(name: str, stages: Sequence[Stage] = STAGES) -> Stage:
    """The stage of that name.

    Raises:
        InputError: the run has no such stage.
    """
    found = [stage for stage in stages if stage.name == name]
    if not found:
        there = ", ".join(stage.name for stage in stages)
        raise InputError(f"stage {name!r}: this run has {there}")
    return found[0]


def run_stage(stage: Stage, invocation: Invocation[TrainingRunConfig]) -> Manifest:
    """Run one stage, or say that it is complete already.

    Raises:
        InputError: its input or leftovers cannot be used.
    """
    folder = stage.folder_of(invocation.config.folder)
    before = find_manifest(folder)
    manifest = stage.run(invocation)
    state = "complete already" if manifest == before else "complete"
    print(f"{stage.name:<7} {state}: {describe(manifest)}", flush=True)
    return manifest


def run_all(invocation: Invocation[PipelineConfig]) -> None:
    """Run all stages in order.

    A stage whose input stage was made anew is removed and done again. One whose own settings
    changed or whose input has only grown is refused: only the user knows whether its work may go.

    Raises:
        InputError: a stage's input or leftovers cannot be used, or training could not follow what
            was added.
    """
    # Said now rather than after days of synthesis.
    require_local(invocation, "train")
    require_tasks(invocation)
    is_trained = find_manifest(invocation.config.folder.train) is not None
    if is_trained:
        invocation = _without_growth(invocation)
    elif invocation.placement is not None:
        with contextlib.suppress(JobFailedError):  # a host that is away may be back by then
            invocation.placement.check([invocation.config_path, *invocation.overrides])
    _run_in_order(STAGES, invocation, is_trained=is_trained)


def run_tuning(invocation: Invocation[TuneConfig]) -> None:
    """Run the stages of a synthesizer's tuning in order, as `run_all` does.

    Raises:
        InputError: a stage's input or leftovers cannot be used.
    """
    require_local(invocation, "train")
    is_trained = find_manifest(invocation.config.folder.train) is not None
    _run_in_order(stages_of(invocation.config), invocation, is_trained=is_trained)


def _run_in_order(
    stages: Sequence[Stage], invocation: Invocation[TrainingRunConfig], *, is_trained: bool
) -> None:
    for stage in stages:
        try:
            run_stage(stage, invocation)
        except StaleStageError as error:
            if error.has_grown and is_trained:
                train = invocation.config.folder.train
                raise InputError(
                    f"the corpus has grown, but the training in {train} is complete and would not "
                    f"follow: copy documents/, augmented/, filtered/ and rows/ to another run.dir "
                    f"and run that with --allow-append (or undo the change)"
                ) from error
            if error.has_grown or not all(field.startswith("inputs.") for field in error.fields):
                raise
            if stage.name in _READS_FILES and not _made_by_us(error):
                raise
            print(f"{stage.name:<7} its input was made anew: doing it again", flush=True)
            storage.remove_tree(stage.folder_of(invocation.config.folder))
            run_stage(stage, invocation)


def _made_by_us(error: StaleStageError) -> bool:
    """Whether all that differs was made by this run's own stages, and is no file of the user's."""
    return all(field.startswith(f"inputs.{SELF_SYNTHETIC}/") for field in error.fields)


def _without_growth(invocation: Invocation[PipelineConfig]) -> Invocation[PipelineConfig]:
    run = invocation.config.run.model_copy(update={"allow_append": False})
    return replace(invocation, config=invocation.config.model_copy(update={"run": run}))


def describe(manifest: Manifest) -> str:
    """One line on what a complete stage holds."""
    counts = manifest.counts
    match manifest.stage:
        case "ingest":
            figures = {
                "documents": manifest.records_out,
                "to convert": counts.get("convert", 0),
                "raw": counts.get("raw", 0),
                "dropped": sum(manifest.dropped.values()),
            }
        case "synth" | "filter":
            figures = {
                "documents": manifest.records_out,
                "pairs": counts.get("pairs", 0),
                "documents without pair": counts.get("documents_without_pair", 0),
            }
            if quarantined := counts.get("documents_quarantined"):
                figures["of them quarantined"] = quarantined
        case "tasks":
            figures = {
                "examples": manifest.records_out,
                "pairs": counts.get("pairs", 0),
                "data sets": counts.get("datasets", 0),
                "dropped": sum(manifest.dropped.values()),
            }
        case "pack":
            figures = {
                "documents": manifest.records_out,
                "tokens": counts.get("tokens", 0),
                "padding": counts.get("padding", 0),
            }
        case "train":
            figures = {"steps": counts.get("steps", 0), "rows": counts.get("rows", 0)}
        case "export":
            figures = {"files": len(manifest.parts)}
        case _:
            figures = {"held-out rows": manifest.records_out}
            if tasks := counts.get("tasks"):
                figures["tasks"] = tasks
    return ", ".join(f"{value:,} {name}" for name, value in figures.items())
