"""Figures of an experiment: measures by arm and seed, and the evidence that arms differ."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from launch.bars import Bars, figure
from launch.experiment.arms import Experiment
from launch.experiment.measuring import Measured
from launch.experiment.statistics import Difference, Spread, difference
from launch.summary import counts_below
from pipeline.stage import read_manifest
from train.metrics import heldout_losses, read_metrics, tokens_by_source

_CONTAMINATED = "contaminated"
_DIGITS = 4


@dataclass(frozen=True)
class Measure:
    """One measure of every arm."""

    key: str
    title: str
    lower_is_better: bool
    is_judged: bool
    """Whether arms are told apart by it; perplexity only says again what the loss says."""
    arms: Mapping[str, Spread]
    """Values in the order of the seeds."""
    differences: Mapping[str, Difference]
    """From the reference, by all other arms."""


@dataclass(frozen=True)
class ArmData:
    """What an arm was trained on."""

    tokens: Mapping[str, float]
    """Tokens that a training read by row source, on average over the seeds."""
    documents_contaminated: Mapping[str, int]
    """Documents that ingest dropped, by evaluation set."""
    pairs_contaminated: Mapping[str, int]
    """Pairs that the filters dropped, by evaluation set."""


@dataclass(frozen=True)
class Curve:
    """Held-out loss while training, of the arm's own rows, on average over the seeds."""

    steps: Sequence[int]
    losses: Sequence[float]


@dataclass(frozen=True)
class Results:
    """Everything that a comparison found."""

    reference: str
    seeds: Sequence[int]
    tokens_per_training: int
    measures: Sequence[Measure]
    data: Mapping[str, ArmData]
    curves: Mapping[str, Mapping[str, Curve]]
    """By row source that all arms have, the curve of each arm."""

    def conclusions(self) -> dict[str, str]:
        """What the evidence supports, a sentence an arm."""
        return {
            arm: f"{arm}: {'; '.join(self._findings(arm))}."
            for arm in self.data
            if arm != self.reference
        }

    def as_json(self) -> dict[str, Any]:
        """The content of `comparison.json`."""
        return {
            "reference": self.reference,
            "seeds": list(self.seeds),
            "tokens_per_training": self.tokens_per_training,
            "measures": {measure.key: _measure_json(measure) for measure in self.measures},
            "data": {arm: asdict(data) for arm, data in self.data.items()},
            "conclusions": self.conclusions(),
        }

    def bars(self) -> Bars:
        """The figures of the last line: each arm's mean, and how far it is from the reference."""
        bars: Bars = {}
        for measure in self.measures:
            for arm, spread in measure.arms.items():
                bars[f"{measure.key}.{arm}"] = figure(spread.mean, _DIGITS)
            for arm, found in measure.differences.items():
                name = f"{measure.key}.{arm}-{self.reference}"
                bars[name] = figure(found.mean, _DIGITS)
                if found.low is not None and found.high is not None:
                    bars[f"{name}.low"] = figure(found.low, _DIGITS)
                    bars[f"{name}.high"] = figure(found.high, _DIGITS)
        return bars

    def _findings(self, arm: str) -> Iterator[str]:
        for measure in self.measures:
            if measure.is_judged:
                found = measure.differences[arm]
                yield f"{measure.title} {verdict_text(found, self.reference)}"


def verdict_text(found: Difference, reference: str) -> str:
    """A verdict with the figures that it rests on."""
    words = {
        "better": f"better than {reference}",
        "worse": f"worse than {reference}",
    }.get(found.verdict, found.verdict)
    if found.low is None or found.high is None:
        return f"{words} ({found.mean:+.4f})"
    return f"{words} ({found.mean:+.4f}, 95% interval {found.low:+.4f} to {found.high:+.4f})"


def gather_results(experiment: Experiment, measured: Mapping[str, Sequence[Measured]]) -> Results:
    """All figures of an experiment that is complete.

    Args:
        experiment: the experiment.
        measured: by arm, the measures of its models in the order of the seeds.
    """
    compare = experiment.compare
    return Results(
        reference=compare.reference,
        seeds=compare.seeds,
        tokens_per_training=experiment.tokens_per_training,
        measures=list(make_measures(measured, compare.reference)),
        data={arm.name: _arm_data(experiment, arm.name) for arm in experiment.arms},
        curves=_curves(experiment),
    )


def make_measures(measured: Mapping[str, Sequence[Measured]], reference: str) -> Iterator[Measure]:
    """Every measure of all arms, with the differences from the reference.

    Args:
        measured: by arm, the measures of its models in the order of the seeds.
        reference: one of the arms.
    """

    def measure(
        key: str, title: str, values: Mapping[str, Sequence[float]], *, is_loss: bool, judged: bool
    ) -> Measure:
        differences = {
            arm: difference(own, values[reference], lower_is_better=is_loss)
            for arm, own in values.items()
            if arm != reference
        }
        spreads = {arm: Spread(tuple(own)) for arm, own in values.items()}
        return Measure(key, title, is_loss, judged, spreads, differences)

    for key, title, judged in (
        ("loss", "held-out loss (nats per token)", True),
        ("perplexity", "held-out perplexity", False),
        ("bits_per_byte", "held-out bits per byte", False),
    ):
        values = {arm: [getattr(one, key) for one in each] for arm, each in measured.items()}
        yield measure(f"heldout_{key}", title, values, is_loss=True, judged=judged)
    for task, score in measured[reference][0].scores.items():
        name, _ = score.main()
        values = {
            arm: [one.scores[task].main()[1].value for one in each]
            for arm, each in measured.items()
        }
        yield measure(task, f"{task} ({name})", values, is_loss=False, judged=True)


def _measure_json(measure: Measure) -> dict[str, Any]:
    return {
        "title": measure.title,
        "better": "lower" if measure.lower_is_better else "higher",
        "arms": {
            arm: {
                "values": list(spread.values),
                "mean": spread.mean,
                "standard_deviation": spread.deviation,
            }
            for arm, spread in measure.arms.items()
        },
        "differences": {arm: asdict(found) for arm, found in measure.differences.items()},
    }


def _arm_data(experiment: Experiment, arm: str) -> ArmData:
    folder = experiment.folder.data(arm)
    dropped = counts_below(read_manifest(folder.filtered), f"pairs_dropped.{_CONTAMINATED}")
    tokens: Counter[str] = Counter()
    for seed in experiment.compare.seeds:
        metrics = experiment.folder.training(arm, seed).metrics
        tokens.update(tokens_by_source(read_metrics(metrics)))
    return ArmData(
        tokens={name: total / len(experiment.compare.seeds) for name, total in tokens.items()},
        documents_contaminated=dict(counts_below(read_manifest(folder.documents), _CONTAMINATED)),
        pairs_contaminated=dict(dropped),
    )


def _curves(experiment: Experiment) -> dict[str, dict[str, Curve]]:
    """Of the row sources that every arm evaluated while training."""
    by_arm = {arm.name: _arm_curves(experiment, arm.name) for arm in experiment.arms}
    common = set.intersection(*(set(curves) for curves in by_arm.values()))
    return {
        source: {arm: curves[source] for arm, curves in by_arm.items()} for source in sorted(common)
    }


def _arm_curves(experiment: Experiment, arm: str) -> dict[str, Curve]:
    losses: dict[str, dict[int, list[float]]] = {}
    for seed in experiment.compare.seeds:
        for line in read_metrics(experiment.folder.training(arm, seed).metrics):
            for source, loss in heldout_losses(line, "source").items():
                losses.setdefault(source, {}).setdefault(int(line["step"]), []).append(loss)
    return {
        source: Curve(
            sorted(by_step), [sum(by_step[step]) / len(by_step[step]) for step in sorted(by_step)]
        )
        for source, by_step in losses.items()
    }
