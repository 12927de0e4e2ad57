"""Has the generator collapsed? How alike the pairs are, and how well their texts support them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from launch.report import charts
from launch.report.charts import BASELINE_COLOUR, OWN_COLOUR, Chart, Series
from launch.report.corpus import CorpusFigures
from launch.report.figures import RunFigures
from launch.report.sections import CompareRow, Section, not_there_yet, side_by_side
from launch.report.wording import percent, share_of

# Smaller differences are called neither better nor worse.
_CLEAR_SHARE, _CLEAR_NUMBER = 0.01, 1.0


@dataclass(frozen=True)
class _Measure:
    """One row: its key in the figures, what it means, and which way is better."""

    key: str
    title: str
    meaning: str
    better: int
    """1: more is better, -1: less is better, 0: neither."""
    is_share: bool = True
    sample: str = ""
    """The sample whose size it depends on; empty: it is taken over all pairs."""

    def text(self, value: float) -> str:
        """A value as it stands in the table."""
        if self.is_share:
            return percent(value)
        return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"

    def difference(self, value: float) -> str:
        """A difference of two values, with its sign."""
        if self.is_share:
            return f"{value * 100:+.1f} pp"
        return f"{value:+,.0f}" if value == int(value) else f"{value:+,.2f}"


_MEASURES = (
    _Measure(
        "self_bleu", "Self-BLEU", "how much instructions repeat one another", -1, sample="self_bleu"
    ),
    _Measure(
        "distinct_1", "Distinct words", "different words among all words", 1, sample="distinct"
    ),
    _Measure("distinct_2", "Distinct word pairs", "different among all", 1, sample="distinct"),
    _Measure("distinct_3", "Distinct word triples", "different among all", 1, sample="distinct"),
    _Measure(
        "top_opening_share", "Commonest beginning", "instructions with the same first words", -1
    ),
    _Measure(
        "unique_question_share", "Unique questions", "not asked a second time of the same text", 1
    ),
    _Measure("grounded_share", "Grounded pairs", "supported by their text, by a strict rule", 1),
    _Measure("with_pair_share", "Texts with pairs", "of the texts that were read", 1),
    _Measure("num_categories", "Task categories", "different ones that occur", 1, is_share=False),
    _Measure("pairs_per_text", "Pairs per text", "of the texts that have any", 0, is_share=False),
)


def diversity_section(run: RunFigures, baseline: RunFigures | None) -> Section:
    """The table of corpus metrics, the same as bars, openings and grounding."""
    identity, title = "diversity", "Diversity and grounding"
    corpus = run.corpus
    if corpus is None:
        return Section(identity, title, missing=not_there_yet(run, "synth"))
    if not corpus.metrics["pairs"]:
        return Section(identity, title, missing="There is no pair to measure.")
    other = baseline.corpus if baseline is not None else None
    own_values, other_values = _values(corpus), _values(other) if other else None
    sampled = corpus.metrics["sampled"]
    intro = (
        f"Measured on {corpus.metrics['pairs']:,} pairs; beginnings on {sampled['openings']:,} "
        f"of their instructions, distinct n-grams on {sampled['distinct']:,}, self-BLEU on "
        f"{sampled['self_bleu']:,}."
    )
    missing = ""
    if baseline is not None:
        intro += (
            f" Baseline: {baseline.path}. Differences below one percentage point are called "
            f"neither better nor worse."
        )
        if other is None:
            missing = "The baseline has no chains yet, so there is nothing to compare with."
        elif other.metrics["sampled"] != sampled:
            missing = (
                "The samples of both runs differ in size, and distinct n-grams fall with size "
                f"alone: the baseline gave {other.metrics['sampled']['distinct']:,} instructions "
                f"for them, this run {sampled['distinct']:,}. Compare with care."
            )
    shown = [_measure_chart(own_values, other_values), _grounding_chart(corpus, other)]
    shown += _opening_charts(corpus, other)
    rows = [_row(measure, own_values, other_values) for measure in _MEASURES]
    return Section(identity, title, intro, missing, charts=shown, rows=rows)


def _values(corpus: CorpusFigures) -> dict[str, float]:
    metrics: Mapping[str, Any] = corpus.metrics
    return {
        **metrics,
        "with_pair_share": share_of(metrics["documents_with_pair"], metrics["documents"]),
        "pairs_per_text": share_of(metrics["pairs"], metrics["documents_with_pair"]),
    }


def _row(measure: _Measure, own: Mapping[str, Any], other: Mapping[str, Any] | None) -> CompareRow:
    value = own[measure.key]
    if other is None:
        return CompareRow(measure.title, measure.meaning, measure.text(value))
    difference = value - other[measure.key]
    is_fair = (
        not measure.sample or own["sampled"][measure.sample] == other["sampled"][measure.sample]
    )
    is_clear = abs(difference) >= (_CLEAR_SHARE if measure.is_share else _CLEAR_NUMBER)
    is_better = difference * measure.better > 0
    return CompareRow(
        measure.title,
        measure.meaning,
        measure.text(value),
        measure.text(other[measure.key]),
        measure.difference(difference),
        ("better" if is_better else "worse") if measure.better and is_fair and is_clear else "",
    )


def _measure_chart(own: Mapping[str, float], other: Mapping[str, float] | None) -> Chart:
    names = {measure.title: measure.key for measure in _MEASURES if measure.is_share}
    series = [
        Series(title, {name: values[key] for name, key in names.items()}, colour, is_share=True)
        for title, values, colour in (
            ("this run", own, OWN_COLOUR),
            ("baseline", other, BASELINE_COLOUR),
        )
        if values is not None
    ]
    return charts.ranking(
        "measures",
        "Diversity at a glance",
        series,
        "share",
        "Of self-BLEU and of the commonest beginning, less is better; of all others, more.",
    )


def _grounding_chart(corpus: CorpusFigures, other: CorpusFigures | None) -> Chart:
    return charts.columns(
        "grounding",
        "Grounding of pairs",
        side_by_side(_support(corpus), _support(other) if other else None),
        ("content found in the text", "share of pairs"),
        "How much of a response its text supports; 50% also where there is nothing to judge by.",
    )


def _support(corpus: CorpusFigures) -> dict[str, int]:
    """Pairs by score, its bins as percentages; the last one is full support alone."""
    names = [f"{low * 10}-{low * 10 + 9}%" for low in range(10)]
    return dict(zip([*names, "100%"], corpus.metrics["grounding"].values(), strict=True))


def _opening_charts(corpus: CorpusFigures, other: CorpusFigures | None) -> Iterator[Chart]:
    for identity, title, figures, colour in (
        ("openings", "Commonest beginnings", corpus, OWN_COLOUR),
        ("openings-baseline", "Commonest beginnings of the baseline", other, BASELINE_COLOUR),
    ):
        if figures is not None and figures.metrics["top_openings"]:
            shares = {f"{text} \u2026": share for text, share in figures.metrics["top_openings"]}
            series = Series("instructions", shares, colour, is_share=True)
            note = "First three words of an instruction."
            yield charts.ranking(identity, title, [series], "share of instructions", note)
