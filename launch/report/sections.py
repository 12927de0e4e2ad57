"""A section of the page, and what several of them say in the same words."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from launch.report.charts import BASELINE_COLOUR, OWN_COLOUR, Chart, Series
from launch.report.corpus import CorpusFigures
from launch.report.dropped import DroppedRecord
from launch.report.examples import ExampleView
from launch.report.figures import RunFigures
from launch.report.wording import plain


@dataclass(frozen=True)
class ReasonView:
    """Why something was dropped, how often, and some of it to read."""

    reason: str
    count: int
    examples: Sequence[DroppedRecord]


@dataclass(frozen=True)
class CompareRow:
    """A figure of this run beside that of the baseline, which may be empty."""

    title: str
    meaning: str
    own: str
    baseline: str = ""
    difference: str = ""
    verdict: str = ""
    """`better`, `worse`, or empty where neither can be said."""


@dataclass(frozen=True)
class Section:
    """One section; whatever is empty is left out of the page."""

    id: str
    title: str
    intro: str = ""
    missing: str = ""
    """What is not there yet."""
    charts: Sequence[Chart] = ()
    rows: Sequence[CompareRow] = ()
    reasons: Mapping[str, Sequence[ReasonView]] | None = None
    """By what was dropped."""
    sample: Mapping[str, str] | None = None
    """What the trained model wrote: prompt and completion."""
    examples: Sequence[ExampleView] = ()
    counts: Mapping[str, Mapping[str, int]] | None = None
    """By stage, everything that was counted."""


def not_there_yet(run: RunFigures, stage: str) -> str:
    """That a stage's figures are missing, and what brings them."""
    return (
        f"Not there yet: the {stage} stage is {run.stages[stage].state} "
        f"(ipt {stage}, or ipt run for all)."
    )


def scope(corpus: CorpusFigures) -> str:
    """Which documents the figures of a corpus rest on."""
    read, of = corpus.num_documents, corpus.num_documents_of
    where = "after the filter stage" if corpus.stage == "filter" else "as synthesis left them"
    if read >= of:
        return f"All {of:,} documents that went through synthesis were read, {where}."
    return (
        f"{read:,} of {of:,} documents that went through synthesis were read, {where}: the "
        f"beginnings of {corpus.num_parts:,} of {corpus.num_parts_of:,} parts, chosen by hash."
    )


def side_by_side(
    own: Mapping[str, int], other: Mapping[str, int] | None, max_labels: int = 0
) -> list[Series]:
    """Shares of this run and of the baseline.

    Args:
        own: counts of this run, in the order of the labels.
        other: counts of the baseline, if there is one.
        max_labels: labels beyond the first ones of this run are one label; 0: all are shown.
    """
    names = _without_empty_ends({**own, **(other or {})}, own, other or {})
    if max_labels and len(names) > max_labels:
        names = names[: max_labels - 1]
    parts = [("this run", own, OWN_COLOUR)]
    if other is not None:
        parts.append(("baseline", other, BASELINE_COLOUR))
    has_rest = any(counts[name] for _, counts, _ in parts for name in set(counts) - set(names))
    series = []
    for title, counts, colour in parts:
        shown: dict[str, float] = {plain(name): counts.get(name, 0) for name in names}
        if has_rest:
            shown["all others"] = sum(counts.values()) - sum(shown.values())
        series.append(Series.shares(title, shown, colour))
    return series


def _without_empty_ends(names: Iterable[str], *counts: Mapping[str, int]) -> list[str]:
    """Labels in their order, from the first to the last that any count has something of."""
    labels = list(names)
    filled = [
        number for number, name in enumerate(labels) if any(count.get(name) for count in counts)
    ]
    return labels[filled[0] : filled[-1] + 1] if filled else []
