"""What a model scored on a task, and scores that are kept so that none is measured twice.

eval/scores/<key>.json: key over the model's files, the task and its settings
"""

from collections.abc import Mapping
from typing import Any

from pipeline.config import StrictConfig
from pipeline.kept import KeptRecords

_PREFERRED = ("acc_norm", "acc", "exact_match", "f1")


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
        self._records, self._settings = KeptRecords(folder), dict(settings)

    def find(self, model_key: str, task: str) -> Scores | None:
        """What was measured before, or None."""
        record = self._records.find(self._identity(model_key, task))
        return None if record is None else read_scores(record)

    def keep(self, model_key: str, task: str, scores: Scores) -> None:
        """Write what was measured, with all that it was measured by."""
        self._records.keep(self._identity(model_key, task), {"tasks": as_json(scores)})

    def _identity(self, model_key: str, task: str) -> dict[str, Any]:
        return {"model": model_key, "task": task, **self._settings}


def as_json(scores: Scores) -> dict[str, Any]:
    """Scores as they stand in a report."""
    return {name: score.model_dump() for name, score in scores.items()}


def read_scores(report: Mapping[str, Any]) -> Scores:
    """The scores in a report; none where it has no tasks."""
    found = report.get("tasks", {})
    return {name: TaskScore.model_validate(score) for name, score in found.items()}
