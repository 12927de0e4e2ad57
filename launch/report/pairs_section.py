"""How many pairs texts have, how long they are, and what they ask."""

from collections.abc import Iterator

from launch.report import charts
from launch.report.charts import Chart, Series
from launch.report.corpus import CorpusFigures
from launch.report.figures import RunFigures
from launch.report.sections import Section, not_there_yet, scope, side_by_side
from launch.report.wording import plain

_MAX_CATEGORIES = 16
_DROPPED_BY_SYNTHESIS, _DROPPED_BY_FILTER = "#d9534f", "#a663cc"
_WITHOUT_STYLE = "no style"


def pairs_section(run: RunFigures, baseline: RunFigures | None) -> Section:
    """Distributions over the documents that were read."""
    corpus = run.corpus
    identity, title = "pairs", "Texts and pairs"
    if corpus is None:
        return Section(identity, title, missing=not_there_yet(run, "synth"))
    other = baseline.corpus if baseline is not None else None
    shown = [*_length_charts(corpus, other)]
    missing = ""
    if not corpus.is_complete:
        missing = f"The {corpus.stage} stage is in progress: this is what it has committed so far."
    if corpus.metrics["pairs"]:
        shown += [*_detail_charts(corpus), *_task_charts(corpus, other), *_style_chart(corpus)]
    else:
        shown, missing = shown[:1], "None of these documents has a pair."
    return Section(identity, title, scope(corpus), missing, charts=shown)


def _length_charts(corpus: CorpusFigures, other: CorpusFigures | None) -> Iterator[Chart]:
    yield charts.columns(
        "text-words",
        "Length of texts",
        side_by_side(corpus.text_words, other.text_words if other else None),
        ("words", "share of texts"),
    )
    yield charts.columns(
        "pairs-per-text",
        "Pairs per text",
        side_by_side(_pairs_per_text(corpus), _pairs_per_text(other) if other else None),
        ("pairs", "share of texts"),
    )
    for name, title, axes in (
        ("instruction_words", "Length of instructions", ("words", "share of pairs")),
        ("response_words", "Length of responses", ("words", "share of pairs")),
    ):
        counts = corpus.metrics[name], other.metrics[name] if other else None
        yield charts.columns(name.replace("_", "-"), title, side_by_side(*counts), axes)


def _pairs_per_text(corpus: CorpusFigures) -> dict[str, int]:
    """Texts by number of pairs, numbers that do not occur too; the last bin is open."""
    counts: dict[str, int] = dict(corpus.metrics["pairs_per_document"])
    last = max(int(name.removesuffix("+")) for name in counts)
    return {str(number): 0 for number in range(last)} | counts


def _task_charts(corpus: CorpusFigures, other: CorpusFigures | None) -> Iterator[Chart]:
    for name, title, note in (
        ("categories", "Task categories", "What the instructions ask for, told by rules."),
        ("kinds", "Kinds of pairs", "With options to choose from, with reasoning, or neither."),
    ):
        series = side_by_side(
            corpus.metrics[name], other.metrics[name] if other else None, _MAX_CATEGORIES
        )
        yield charts.ranking(name, title, series, "share of pairs", note)


def _style_chart(corpus: CorpusFigures) -> Iterator[Chart]:
    """What became of the pairs of each task style, if there is more than one."""
    kept = corpus.style_pairs
    dropped = {name: examples.pairs_by_style for name, examples in corpus.dropped.items()}
    styles = sorted({*kept, *dropped["synth"], *dropped["filter"]}, key=lambda s: (-kept[s], s))
    if len(styles) < 2:
        return
    series = [
        Series(name, {plain(style) or _WITHOUT_STYLE: counts[style] for style in styles}, colour)
        for name, counts, colour in (
            ("kept", kept, charts.OWN_COLOUR),
            ("dropped by synthesis", dropped["synth"], _DROPPED_BY_SYNTHESIS),
            ("dropped by filter", dropped["filter"], _DROPPED_BY_FILTER),
        )
        if counts
    ]
    yield charts.ranking(
        "styles", "Task styles", series, "pairs", "How the model was asked.", stack=True
    )


def _detail_charts(corpus: CorpusFigures) -> Iterator[Chart]:
    """Languages and chains, where there is more than one of them."""
    if len(corpus.languages) > 1:
        ranked = dict(sorted(corpus.languages.items(), key=lambda item: (-item[1], item[0])))
        yield charts.ranking(
            "languages",
            "Languages of texts with pairs",
            side_by_side(ranked, None, _MAX_CATEGORIES),
            "share of texts",
        )
    if len(corpus.shots_per_chain) > 1:
        counts = {str(shots): count for shots, count in corpus.shots_per_chain.items()}
        yield charts.columns(
            "shots-per-chain",
            "Texts per chain",
            side_by_side(counts, None),
            ("texts", "share of chains"),
            "A chain is read as one document in training.",
        )
