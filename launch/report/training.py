"""Losses and speed over the steps of training, and the losses on held-out rows."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import storage
from pipeline.run_folder import RunFolder
from train.metrics import heldout_losses, read_metrics
from train.scores import Scores, read_scores

_MAX_POINTS = 400
_LOSS = "loss/"


@dataclass(frozen=True)
class Evaluations:
    """Held-out losses while training; a run that makes none has no steps."""

    steps: Sequence[int]
    by_source: Mapping[str, Sequence[float | None]]
    """Loss of each source at each of these steps; None: not recorded there, or no number."""
    by_kind: Mapping[str, Sequence[float | None]]
    """The same over the responses of each kind of pair."""


@dataclass(frozen=True)
class Anomaly:
    """A step at which something was wrong."""

    step: int
    text: str
    """What, and what was done."""


@dataclass(frozen=True)
class TrainingFigures:
    """What training and evaluation recorded; a run without steps has no points."""

    num_steps: int
    steps: Sequence[int]
    """Last step of each point."""
    steps_per_point: int
    series: Mapping[str, Sequence[float | None]]
    """Mean of each key of `metrics.jsonl` over the steps of a point; None: not recorded there."""
    evaluations: Evaluations
    anomalies: Sequence[Anomaly]
    heldout: Mapping[str, Mapping[str, float]]
    """By source: loss, perplexity, tokens."""
    sample: Mapping[str, str]
    """What the model wrote, last of all: prompt and completion."""
    scores: Scores
    """By task of `eval.tasks`."""

    def losses_by_source(self) -> dict[str, Sequence[float | None]]:
        """The training loss of each source, by its name."""
        return {
            key.removeprefix(_LOSS): values
            for key, values in sorted(self.series.items())
            if key.startswith(_LOSS)
        }

    def loss_at(self, step: int) -> float | None:
        """The training loss of the point that a step is part of, or of the last one before it."""
        known: float | None = None
        for end, loss in zip(self.steps, self.series["loss"], strict=True):
            known = known if loss is None else loss
            if end >= step:
                break
        return known

    def heldout_loss(self) -> float | None:
        """Mean over all held-out tokens, or None without any."""
        tokens = sum(source["tokens"] for source in self.heldout.values())
        if not tokens:
            return None
        return sum(part["loss"] * part["tokens"] for part in self.heldout.values()) / tokens


def gather_training(folder: RunFolder) -> TrainingFigures:
    """Read `metrics.jsonl` and the evaluation's `report.json`, as far as they are there."""
    metrics = read_metrics(folder.metrics)
    width = max(1, math.ceil(len(metrics) / _MAX_POINTS))
    points = [metrics[start : start + width] for start in range(0, len(metrics), width)]
    keys = sorted({key for line in metrics for key in line})
    report = _read_report(folder)
    return TrainingFigures(
        num_steps=len(metrics),
        steps=[int(point[-1]["step"]) for point in points],
        steps_per_point=width,
        series={key: [_mean(point, key) for point in points] for key in keys},
        evaluations=_evaluations(metrics),
        anomalies=[
            Anomaly(line["step"], line["anomaly"]) for line in metrics if line.get("anomaly")
        ],
        heldout=report.get("heldout", {}),
        sample=report.get("sample", _last_sample(metrics)),
        scores=read_scores(report),
    )


def _evaluations(metrics: Sequence[Mapping[str, Any]]) -> Evaluations:
    found = [
        (int(line["step"]), heldout_losses(line, "source"), heldout_losses(line, "kind"))
        for line in metrics
    ]
    found = [evaluation for evaluation in found if evaluation[1] or evaluation[2]]
    return Evaluations(
        steps=[step for step, _, _ in found],
        by_source=_by_name([sources for _, sources, _ in found]),
        by_kind=_by_name([kinds for _, _, kinds in found]),
    )


def _last_sample(metrics: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    return next((line["sample"] for line in reversed(metrics) if "sample" in line), {})


def _by_name(losses: Sequence[Mapping[str, float]]) -> dict[str, list[float | None]]:
    names = sorted({name for one in losses for name in one})
    return {name: [one.get(name) for one in losses] for name in names}


def _mean(lines: Sequence[Mapping[str, Any]], key: str) -> float | None:
    """The mean of a key where it is a number; a diverged step counts as not recorded."""
    values = [float(line[key]) for line in lines if isinstance(line.get(key), int | float)]
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else None


def _read_report(folder: RunFolder) -> dict[str, Any]:
    if not storage.exists(folder.report):
        return {}
    report: dict[str, Any] = json.loads(storage.read_bytes(folder.report))  # may hold NaN
    return report
