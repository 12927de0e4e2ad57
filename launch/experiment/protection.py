"""Which evaluation sets no arm may be trained on: the questions of every task that is scored."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from train.config import EvalConfig
from train.suites import expand_suites, local_folders


def protected_sets(config: EvalConfig, own_sets: Collection[str]) -> dict[str, dict[str, Any]]:
    """The tasks of `eval.tasks` as sets of `ingest.decontamination.sets`.

    Args:
        config: names the tasks and their folder.
        own_sets: names of the sets that are given already, which stand for tasks of these names.

    Raises:
        InputError: a task's questions are neither in a local task file nor given as a set.
    """
    sets: dict[str, dict[str, Any]] = {}
    for name in expand_suites(config.tasks):
        if name in own_sets:
            continue
        path = _task_file(name, local_folders(config.task_folder))
        if path is None:
            raise InputError(
                f"eval.tasks: {name!r} is no local task, so that nothing is known of its questions "
                f"to keep the arms from; correct the name (everyday ships), or give them as "
                f"[ingest.decontamination.sets.{name}]"
            )
        sets[name] = {"path": str(path)}
    return sets


def _task_file(name: str, folders: list[Path]) -> Path | None:
    """The file of a local task; of two of one name that of the later folder, as when scored."""
    pattern = re.compile(rf"^task:\s*[\"']?{re.escape(name)}[\"']?\s*(#.*)?$", re.MULTILINE)
    found = None
    for folder in folders:
        for path in sorted(folder.rglob("*.yaml")):
            if pattern.search(path.read_text(encoding="utf-8")):
                found = path
    return found
