"""Losses and speed of training, and the losses on held-out rows."""

import math
from collections.abc import Iterator

from launch.report import charts
from launch.report.charts import BASELINE_COLOUR, OWN_COLOUR, Chart, Series
from launch.report.figures import RunFigures
from launch.report.sections import Section, not_there_yet
from launch.report.training import TrainingFigures

_BASELINE = "baseline, all sources"
_OVER_STEPS = (
    ("perf/tokens_per_s", "Speed of training", "tokens/s", ",~s"),
    ("time/data_wait_share", "Waiting for data", "share of a step's time", ".2~%"),
    ("lr", "Learning rate", "learning rate", "~g"),
    ("grad_norm", "Gradient norm", "norm before clipping", "~g"),
)


def training_section(run: RunFigures, baseline: RunFigures | None) -> Section:
    """Everything over steps, and the held-out losses."""
    training = run.training
    other = baseline.training if baseline is not None else None
    shown = [*_loss_chart(training, other), *_heldout_chart(training, other)]
    shown += _step_charts(training)
    if not training.num_steps:
        missing = not_there_yet(run, "train")
    elif not training.heldout:
        missing = not_there_yet(run, "eval")
    else:
        missing = ""
    return Section(
        "training",
        "Training",
        intro=_intro(training),
        missing=missing,
        charts=shown,
        sample=training.sample or None,
    )


def _intro(training: TrainingFigures) -> str:
    if not training.num_steps:
        return ""
    intro = f"{training.num_steps:,} steps are recorded"
    if training.steps_per_point > 1:
        intro += f"; each point is the mean of {training.steps_per_point} of them"
    return intro + ". Losses are in nats per token."


def _loss_chart(training: TrainingFigures, other: TrainingFigures | None) -> Iterator[Chart]:
    if not training.num_steps:
        return
    series = {"all sources": training.series["loss"]}
    by_source = training.losses_by_source()
    if len(by_source) > 1:
        series |= by_source
    steps = dict.fromkeys(series, training.steps)
    if other is not None and other.num_steps:
        series[_BASELINE], steps[_BASELINE] = other.series["loss"], other.steps
    axis = "loss (nats per token)"
    yield charts.lines("loss", "Training loss", steps, series, axis, dashed=_BASELINE)


def _heldout_chart(training: TrainingFigures, other: TrainingFigures | None) -> Iterator[Chart]:
    if not training.heldout:
        return
    series = [
        Series(
            name,
            {
                source: part["loss"]
                for source, part in sorted(figures.heldout.items())
                if math.isfinite(part["loss"])
            },
            colour,
        )
        for name, figures, colour in (
            ("this run", training, OWN_COLOUR),
            ("baseline", other, BASELINE_COLOUR),
        )
        if figures is not None and figures.heldout
    ]
    tokens = sum(part["tokens"] for part in training.heldout.values())
    yield charts.ranking(
        "heldout",
        "Held-out loss",
        series,
        "loss (nats per token)",
        f"Of the exported model, over {tokens:,.0f} tokens kept from training.",
    )


def _step_charts(training: TrainingFigures) -> Iterator[Chart]:
    for key, title, axis, tick_format in _OVER_STEPS:
        values = training.series.get(key, ())
        if any(value is not None for value in values):
            steps = {title: training.steps}
            identity = key.replace("/", "-").replace("_", "-")
            yield charts.lines(identity, title, steps, {title: values}, axis, "", tick_format)
