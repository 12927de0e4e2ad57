"""Losses and speed of training, the losses on held-out rows, and scores on tasks."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from launch.report import charts
from launch.report.charts import BASELINE_COLOUR, OWN_COLOUR, Chart, Mark, Series
from launch.report.figures import RunFigures
from launch.report.sections import CompareRow, Section, not_there_yet
from launch.report.training import TrainingFigures
from launch.report.wording import plain
from train.scores import Scores

_BASELINE = "baseline, all sources"
_LOSS_AXIS = "loss (nats per token)"
# A run that goes wrong all the time need not show it at every step.
_MAX_MARKS, _MAX_TEXTS = 200, 3
_OVER_STEPS = (
    ("perf/tokens_per_s", "Speed of training", "tokens/s", ",~s"),
    ("perf/mfu", "Model FLOPs utilisation", "share of the accelerators' peak", ".2~%"),
    ("time/data_wait_share", "Waiting for data", "share of a step's time", ".2~%"),
    ("lr", "Learning rate", "learning rate", "~g"),
    ("grad_norm", "Gradient norm", "norm before clipping", "~g"),
)


def training_section(run: RunFigures, baseline: RunFigures | None) -> Section:
    """Everything over steps, and the held-out losses."""
    training = run.training
    other = baseline.training if baseline is not None else None
    shown = [*_loss_chart(training, other), *_evaluation_charts(training)]
    shown += [*_heldout_chart(training, other), *_step_charts(training)]
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
        rows=_task_rows(training.scores, other.scores if other is not None else {}),
        sample=training.sample or None,
    )


def _task_rows(own: Scores, other: Scores) -> list[CompareRow]:
    """A row a task, beside the baseline's score by the same measure."""
    rows = []
    for task, score in own.items():
        measure, metric = score.main()
        baseline = other[task].metrics.get(measure) if task in other else None
        rows.append(
            CompareRow(
                task,
                f"{measure} with its standard error, {score.num_examples:,} examples after "
                f"{score.num_fewshot} solved ones",
                metric.text(),
                baseline.text() if baseline is not None else "",
                f"{metric.value - baseline.value:+.3f}" if baseline is not None else "",
            )
        )
    return rows


def _intro(training: TrainingFigures) -> str:
    if not training.num_steps:
        return ""
    intro = f"{training.num_steps:,} steps are recorded"
    if training.steps_per_point > 1:
        intro += f"; each point is the mean of {training.steps_per_point} of them"
    return f"{intro}. Losses are in nats per token.{_anomalies_text(training)}"


def _anomalies_text(training: TrainingFigures) -> str:
    """How many steps were anomalous and why, the commonest reasons first."""
    if not (number := len(training.anomalies)):
        return ""
    reasons = Counter(anomaly.text for anomaly in training.anomalies).most_common()
    shown = [f"{reason} ({count:,})" for reason, count in reasons[:_MAX_TEXTS]]
    if len(reasons) > _MAX_TEXTS:
        shown.append("others")
    are = "step was an anomaly" if number == 1 else "steps were anomalies"
    return f" {number:,} {are}: {', '.join(shown)}."


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
    marks = _marks(training)
    yield charts.lines(
        "loss", "Training loss", steps, series, _LOSS_AXIS, dashed=_BASELINE, marks=marks
    )


def _marks(training: TrainingFigures) -> list[Mark]:
    """Anomalies on the line of the loss, those that come first."""
    shown = training.anomalies[:_MAX_MARKS]
    losses = [training.loss_at(anomaly.step) for anomaly in shown]
    return [
        Mark(anomaly.step, loss, anomaly.text)
        for anomaly, loss in zip(shown, losses, strict=True)
        if loss is not None
    ]


def _evaluation_charts(training: TrainingFigures) -> Iterator[Chart]:
    """Held-out losses while training, by source beside the training losses, and by kind."""
    evaluations, by_source = training.evaluations, training.losses_by_source()
    series: dict[str, Sequence[float | None]] = {}
    steps: dict[str, Sequence[int]] = {}
    beside = {}
    for source, losses in evaluations.by_source.items():
        series[held_out := f"{source}, held out"] = losses
        steps[held_out] = evaluations.steps
        if source in by_source:
            series[trained := f"{source}, trained on"] = by_source[source]
            steps[trained] = training.steps
            beside[trained] = held_out
    if series:
        title = "Held-out and training loss by source"
        note = "A held-out loss that rises while the training loss falls is learning by heart."
        yield charts.lines("heldout-steps", title, steps, series, _LOSS_AXIS, note, beside=beside)
    if by_kind := evaluations.by_kind:
        title = "Held-out loss by kind of pair"
        kinds = {plain(kind): losses for kind, losses in by_kind.items()}
        steps = dict.fromkeys(kinds, evaluations.steps)
        yield charts.lines("heldout-kinds", title, steps, kinds, _LOSS_AXIS)


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
        _LOSS_AXIS,
        f"Of the exported model, over {tokens:,.0f} tokens kept from training.",
    )


def _step_charts(training: TrainingFigures) -> Iterator[Chart]:
    for key, title, axis, tick_format in _OVER_STEPS:
        values = training.series.get(key, ())
        if any(value is not None for value in values):
            steps = {title: training.steps}
            identity = key.replace("/", "-").replace("_", "-")
            yield charts.lines(identity, title, steps, {title: values}, axis, "", tick_format)
