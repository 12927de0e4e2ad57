"""What a model scored on a task, and scores that are kept so that none is measured twice.

eval/scores/<key>.json: key over the model's files, the task and its settings
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.config import StrictConfig

_PREFERRED = ("acc_norm", "acc", "exact_match", "f1")
_OF_NO_WEIGHT = ("stage.json", "manifest.json", "README.md")
_SAMPLE_BYTES = 2**20


class Metric(StrictConfig):
    """One measure of a task."""

    value: float
    stderr: float | None = None
    """Standard error over the examples; None where the harness has none for this measure."""

    def text(self) -> str:
        """The value with its standard error, for people."""
        error = f" ±{self.stderr:.3f}" if self.stderr is not None else ""
        return f"{self.value:.3f}{error}"


class TaskScore(StrictConfig):
    """All measures of one task."""

    metrics: dict[str, Metric]
    num_examples: int
    num_fewshot: int

    def main(self) -> tuple[str, Metric]:
        """The measure that stands for the task, and its name.

        Accuracy by the likelihood per byte where the task has it, as is usual for ARC, HellaSwag,
        OpenBookQA and PIQA; else accuracy, else what the task names first.
        """
        name = next((name for name in _PREFERRED if name in self.metrics), "")
        name = name or next(iter(self.metrics))
        return name, self.metrics[name]


Scores = dict[str, TaskScore]
"""By task."""


class KeptScores:
    """Scores below one folder; each is there as soon as it is measured."""

    def __init__(self, folder: str, settings: Mapping[str, Any]) -> None:
        """Keep scores of one setting apart from those of another.

        Args:
            folder: where the files are.
            settings: whatever decides a score beside model and task; JSON values.
        """
        self._folder, self._settings = folder, dict(settings)

    def find(self, model_key: str, task: str) -> Scores | None:
        """What was measured before, or None."""
        uri = self._uri(model_key, task)
        if not storage.exists(uri):
            return None
        return read_scores(json.loads(storage.read_bytes(uri)))

    def keep(self, model_key: str, task: str, scores: Scores) -> None:
        """Write what was measured, with all that it was measured by."""
        record = {**self._identity(model_key, task), "tasks": as_json(scores)}
        storage.write_atomic(self._uri(model_key, task), json.dumps(record, indent=1).encode())

    def _identity(self, model_key: str, task: str) -> dict[str, Any]:
        return {"model": model_key, "task": task, **self._settings}

    def _uri(self, model_key: str, task: str) -> str:
        canonical = json.dumps(self._identity(model_key, task), sort_keys=True)
        key = hashlib.blake2b(canonical.encode(), digest_size=12).hexdigest()
        return storage.join(self._folder, f"{key}.json")


def as_json(scores: Scores) -> dict[str, Any]:
    """Scores as they stand in a report."""
    return {name: score.model_dump() for name, score in scores.items()}


def read_scores(report: Mapping[str, Any]) -> Scores:
    """The scores in a report; none where it has no tasks."""
    found = report.get("tasks", {})
    return {name: TaskScore.model_validate(score) for name, score in found.items()}


def model_key(reference: str) -> str:
    """Key of a model's content: name, size and samples of each file; of a hub model, its name.

    Args:
        reference: what `pipeline.pretrained.resolve_model` gave.
    """
    folder = Path(reference)
    if not folder.is_dir():
        return reference
    digest = hashlib.blake2b(digest_size=12)
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        if file.name in _OF_NO_WEIGHT or file.name.startswith("part-"):
            continue  # they tell when the folder was made, not what is in it
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}:".encode())
        with file.open("rb") as opened:
            # Two checkpoints differ in every weight, so that samples tell them apart.
            for offset in sorted({0, size // 2, max(0, size - _SAMPLE_BYTES)}):
                opened.seek(offset)
                digest.update(opened.read(_SAMPLE_BYTES))
    return digest.hexdigest()
