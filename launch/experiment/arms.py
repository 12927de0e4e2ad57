"""An experiment's TOML becomes one ordinary run's settings for each arm.

    [ingest] [synth] [pack] [train] ...   the base          ─┐
    [compare.arms.instruct]               over it            ├─▶ PipelineConfig of the arm
    held-out texts and tasks              as evaluation sets ─┘

An arm decides what its data is. Steps, batch, row length, tokenizer, model and optimizer stand in
the base alone, so that the arms' budgets are equal whatever they say.
"""

import copy
import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.config import PipelineConfig
from launch.experiment.config import CompareConfig
from launch.experiment.folders import ExperimentFolder
from launch.experiment.protection import protected_sets
from launch.references import find_config
from pipeline.config import flatten, read_toml, validate
from pipeline.errors import InputError
from pipeline.packing.config import PackConfig
from train.config import EvalConfig

HELDOUT_SOURCE, CONTINUATION = "heldout", "heldout_continuation"
_PRESETS = Path(__file__).resolve().parent.parent / "configs" / "compare"
_SECTIONS = ("ingest", "synth", "filter", "mixture", "pack")
_PACK_KEYS = ("template_seed", "template_folder", "loss_on")

Values = dict[str, Any]
"""Settings as a TOML file holds them."""


@dataclass(frozen=True)
class Arm:
    """One arm, and the run that makes its rows."""

    name: str
    values: Values
    """All its settings but `[run]`."""
    config: PipelineConfig


@dataclass(frozen=True)
class Experiment:
    """Everything that a TOML of `ipt compare` says."""

    compare: CompareConfig
    arms: Sequence[Arm]
    heldout: Arm
    """The run that packs the held-out texts; not trained on."""
    tasks: Sequence[EvalConfig]
    """Tasks that every model is scored on: those named, and those made here."""

    @property
    def folder(self) -> ExperimentFolder:
        """Paths of the experiment."""
        return ExperimentFolder(self.compare.dir)

    @property
    def base(self) -> PipelineConfig:
        """Settings that are the same for all arms."""
        return self.arms[0].config

    @property
    def tokens_per_training(self) -> int:
        """Tokens that each training reads."""
        train = self.base.train
        return train.num_steps * train.rows_per_batch * self.base.pack.seq_len


def load_experiment(reference: str, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment and resolve the settings of its arms.

    Raises:
        InputError: no such file, or settings that are not usable together.
    """
    path = find_config(reference, _PRESETS)
    base = read_toml(path, overrides)
    if "compare" not in base:
        raise InputError(f"config {path}: the section [compare] is missing; it names the arms")
    compare = validate(CompareConfig, base.pop("compare"), f"{path} [compare]")
    if "run" in base:
        raise InputError(
            f"config {path}: [run] follows from compare.dir and compare.seeds; remove the section"
        )
    for name, settings in compare.arms.items():
        _check_arm(name, settings)
    evaluation = validate(EvalConfig, base.get("eval", {}), f"{path} [eval]")
    folder = ExperimentFolder(compare.dir)
    sets = protected_sets(evaluation, _own_sets(base))
    sets[HELDOUT_SOURCE] = {
        "path": f"{folder.heldout.documents}/{HELDOUT_SOURCE}",
        "fields": ["text"],
    }
    if compare.continuation is not None:
        sets[CONTINUATION] = {"path": f"{folder.tasks}/{CONTINUATION}.yaml"}
    arms = [
        _resolve(name, merge(base, settings), folder, sets, path)
        for name, settings in compare.arms.items()
    ]
    return Experiment(
        compare, arms, _heldout_run(compare, arms[0], folder, path), _tasks(compare, evaluation)
    )


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Values:
    """Settings with others over them, table by table; neither is changed."""
    merged = copy.deepcopy(dict(base))
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[key] = merge(below, value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _check_arm(name: str, settings: Mapping[str, Any]) -> None:
    """Refuse what an arm may not change.

    Raises:
        InputError: names the key, and the nearest one or the reason.
    """
    for section, given in settings.items():
        where = f"compare.arms.{name}.{section}"
        if section in ("train", "eval", "export", "run"):
            keys = ", ".join(flatten({section: given}))
            raise InputError(
                f"{where}: an arm may not change {keys}, which would compare unlike budgets, "
                f"models or measures; set it for all arms, in [{section}]"
            )
        if section not in _SECTIONS:
            raise InputError(f"{where}: unknown section; {_nearest(section, _SECTIONS)}")
        if not isinstance(given, dict):
            raise InputError(f"{where} = {given!r} must be a table of settings")
        if section == "ingest" and "decontamination" in given:
            raise InputError(
                f"{where}.decontamination: an arm may not change what is kept out of the training "
                f"data, by which all are measured; set it for all arms, in [ingest.decontamination]"
            )
        for key in given if section == "pack" else ():
            if key in PackConfig.model_fields and key not in _PACK_KEYS:
                raise InputError(
                    f"{where}.{key}: an arm may not change pack.{key}, which decides the tokens of "
                    f"a row; set it for all arms, in [pack]"
                )


def _resolve(
    name: str, values: Values, folder: ExperimentFolder, sets: Mapping[str, Any], path: str
) -> Arm:
    decontamination = {"ingest": {"decontamination": {"sets": dict(sets)}}}
    values = merge(values, decontamination)
    run = {"dir": folder.data(name).root}
    origin = f"{path} [compare.arms.{name}]"
    return Arm(name, values, validate(PipelineConfig, values | {"run": run}, origin))


def _heldout_run(compare: CompareConfig, arm: Arm, folder: ExperimentFolder, path: str) -> Arm:
    """The run that makes rows of the held-out texts, all of them in the split `heldout`."""
    source = compare.heldout.model_dump(exclude_defaults=True) | {"convert_fraction": 0.0}
    values = {
        **{section: arm.values[section] for section in ("train", "pack")},
        "ingest": {"sources": {HELDOUT_SOURCE: source}},
        "synth": {"protocol": "rules"},
    }
    values["pack"] = {
        **{key: value for key, value in values["pack"].items() if key not in _PACK_KEYS},
        "heldout_fraction": math.nextafter(1.0, 0.0),
    }
    run = {"dir": folder.heldout.root}
    config = validate(PipelineConfig, values | {"run": run}, f"{path} [compare.heldout]")
    return Arm(HELDOUT_SOURCE, values, config)


def _tasks(compare: CompareConfig, evaluation: EvalConfig) -> list[EvalConfig]:
    tasks = [evaluation] if evaluation.tasks else []
    if compare.continuation is not None:
        made = {"tasks": (CONTINUATION,), "task_folder": ExperimentFolder(compare.dir).tasks}
        tasks.append(evaluation.model_copy(update={**made, "num_fewshot": None}))
    return tasks


def _own_sets(base: Mapping[str, Any]) -> set[str]:
    """Names of the evaluation sets that the file itself gives."""
    section: Any = base
    for key in ("ingest", "decontamination", "sets"):
        section = section.get(key, {}) if isinstance(section, dict) else {}
    return set(section)


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"an arm may set {', '.join(known)}"
