"""An experiment's figures as one HTML page, with what a run's report is made of."""

from collections.abc import Sequence
from dataclasses import dataclass

from launch.experiment.results import Results
from launch.experiment.tables import data_rows, measure_rows
from launch.report import charts
from launch.report.charts import Chart, Series
from launch.report.page import render_template
from pipeline import storage


@dataclass(frozen=True)
class PageSection:
    """One section of the page."""

    id: str
    title: str
    intro: str = ""
    tables: Sequence[Sequence[Sequence[str]]] = ()
    """Rows of cells, the first one the head."""
    charts: Sequence[Chart] = ()


def write_page(results: Results, name: str, target: str) -> None:
    """Write the page, atomically.

    Args:
        results: what it shows.
        name: of the experiment.
        target: file to write.
    """
    storage.write_atomic(target, render_results(results, name).encode("utf-8", "replace"))


def render_results(results: Results, name: str) -> str:
    """The HTML of an experiment's page."""
    sections = [_measures(results), _data(results)]
    if results.curves:
        sections.insert(1, _curves(results))
    return render_template(
        "experiment.html.j2",
        name=name,
        reference=results.reference,
        facts=[
            ("arms", ", ".join(results.data)),
            ("seeds", ", ".join(map(str, results.seeds))),
            ("tokens a training", f"{results.tokens_per_training:,}"),
        ],
        conclusions=list(results.conclusions().values()),
        sections=sections,
    )


def _measures(results: Results) -> PageSection:
    shown = [
        charts.dots(
            f"measure-{number}",
            measure.title,
            {arm: spread.values for arm, spread in measure.arms.items()},
            measure.title,
            f"{'Lower' if measure.lower_is_better else 'Higher'} is better; a dot is a seed.",
        )
        for number, measure in enumerate(results.measures)
        if measure.is_judged
    ]
    return PageSection(
        "measures",
        "Measures",
        "Of the exported models, on texts and tasks that no arm was trained on. Spread is the "
        "standard deviation over the seeds.",
        [measure_rows(measure, results) for measure in results.measures],
        shown,
    )


def _curves(results: Results) -> PageSection:
    shown = [
        charts.lines(
            f"curve-{number}",
            source,
            {arm: curve.steps for arm, curve in curves.items()},
            {arm: curve.losses for arm, curve in curves.items()},
            "nats per token",
        )
        for number, (source, curves) in enumerate(results.curves.items())
    ]
    return PageSection(
        "curves",
        "While training",
        "Loss on rows that each arm kept from its own training, on average over the seeds. Arms "
        "that convert some texts keep others back: the measures above are those to compare by.",
        charts=shown,
    )


def _data(results: Results) -> PageSection:
    sources = dict.fromkeys(name for data in results.data.values() for name in data.tokens)
    series = [
        Series(
            source,
            {arm: data.tokens.get(source, 0) for arm, data in results.data.items()},
            charts.colour_of(number),
        )
        for number, source in enumerate(sources)
    ]
    chart = charts.ranking("tokens", "Tokens by source", series, "tokens", stack=True)
    return PageSection(
        "data",
        "Data",
        f"Every training reads {results.tokens_per_training:,} tokens of rows, padding included. "
        "A text or pair that shares a piece with an evaluation set is dropped as contaminated.",
        [data_rows(results)],
        [chart],
    )
