"""What synthesizers' pairs are worth, for people: lines of a table, and a page.

shots  model  texts with  pieces  stopped   pairs/  unique ..
                    pair    read              text  in text
    0  base        45.0%   31.2%     4.0%     0.81    88.0%
    0  tuned       99.5%   97.1%    98.5%     4.93    99.2%
    2  base        92.5%   80.3%    61.0%     3.95    95.1%
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from launch.comparison import short_names
from launch.report import charts
from launch.report.charts import Chart, Series
from launch.report.examples import view_shot
from launch.report.page import render_template
from launch.report.wording import percent, plain, rate
from pipeline import storage
from pipeline.contracts import Pair, Shot
from synth.measuring.job import Measurement, TuneEvalResults
from synth.measuring.measures import Measures

_NUM_EXAMPLES = 10
_GOLD = "gold pairs"


@dataclass(frozen=True)
class _Column:
    """A measure as it is shown."""

    name: str
    """Field or property of `Measures`."""
    title: tuple[str, str]
    """In two lines; together they are the title on the page."""
    meaning: str
    is_share: bool = True
    show: Callable[[float], str] = percent

    @property
    def heading(self) -> str:
        """The title in one line."""
        return " ".join(self.title).strip().replace("/ ", "/")

    def value(self, measures: Measures) -> float | None:
        """The measure; None: there is nothing to measure."""
        value: float | None = getattr(measures, self.name)
        return value

    def text(self, measures: Measures) -> str:
        """The measure as it stands in a table."""
        value = self.value(measures)
        return "-" if value is None else self.show(value)


_COLUMNS = (
    _Column("texts_with_pair", ("texts with", "pair"), "texts with a pair that can be read"),
    _Column("fragments_read", ("pieces", "read"), "pieces of the replies that are whole pairs"),
    _Column("stopped", ("stopped", ""), "replies that ended by themselves before they were cut"),
    _Column("pairs_per_text", ("pairs/", "text"), "pairs that can be read", False, "{:.2f}".format),
    _Column("unique_in_text", ("unique", "in text"), "different questions of a text / whole pairs"),
    _Column("unique", ("unique", "in all"), "different questions of all texts / whole pairs"),
    _Column("grounded", ("grounded", ""), "pairs that synthesis' check of grounding lets pass"),
    _Column("num_kinds", ("kinds", ""), "kinds of pairs that occur, of 4", False, "{:.0f}".format),
    _Column("num_categories", ("task", "categories"), "that occur", False, "{:.0f}".format),
    _Column("question_f1", ("question", "F1"), "token F1 of a gold question and the nearest one"),
    _Column("answer_f1", ("answer", "F1"), "token F1 of a gold answer and that of its match"),
    _Column("mean_shots", ("shots", "used"), "that fitted the prompt", False, "{:.2f}".format),
    _Column("tokens_per_s", ("output", "tokens/s"), "of all requests together", False, rate),
    _Column("seconds", ("seconds", ""), "without the start of the engine", False, "{:.1f}".format),
)


@dataclass(frozen=True)
class _Row:
    title: str
    meaning: str
    cells: Sequence[str]


@dataclass(frozen=True)
class _Example:
    source: str
    text: str
    pairs: Mapping[str, Sequence[Pair]]
    """By who wrote them."""


def tune_eval_lines(results: TuneEvalResults) -> list[str]:
    """A table: a row a number of shots and a model, a column a measure."""
    names = _names(results)
    table = [["shots", ""], ["model", ""], *([*column.title] for column in _COLUMNS)]
    for one in results.measurements:
        cells = [str(one.shots), names[one.model]]
        cells += [column.text(one.measures) for column in _COLUMNS]
        for column_of_table, cell in zip(table, cells, strict=True):
            column_of_table.append(cell)
    widths = [max(map(len, column)) for column in table]
    lines = []
    for shots, model, *cells in zip(*table, strict=True):
        aligned = [f"{shots:>{widths[0]}}", f"{model:<{widths[1]}}"]
        aligned += [f"{cell:>{width}}" for cell, width in zip(cells, widths[2:], strict=True)]
        lines.append("  ".join(aligned).rstrip())
    return lines


def write_tune_eval_page(results: TuneEvalResults, path: str) -> None:
    """Write the page, atomically: the table, a chart a measure, texts with everybody's pairs."""
    page = render_template(
        "tuning.html.j2",
        facts=_facts(results),
        names=[_name_of(results, one) for one in results.measurements],
        rows=[
            _Row(
                column.heading,
                column.meaning,
                [column.text(one.measures) for one in results.measurements],
            )
            for column in _COLUMNS
        ],
        charts=list(_charts(results)),
        examples=_examples(results),
        counts=_counts(results),
    )
    storage.write_atomic(path, page.encode("utf-8", "replace"))


def _names(results: TuneEvalResults) -> dict[str, str]:
    """Short names of the models."""
    models = list(dict.fromkeys(one.model for one in results.measurements))
    return dict(zip(models, short_names(models), strict=True))


def _shots_name(shots: int) -> str:
    return f"{shots}-shot" if shots else "zero-shot"


def _name_of(results: TuneEvalResults, one: Measurement) -> str:
    return f"{_names(results)[one.model]}, {_shots_name(one.shots)}"


def _facts(results: TuneEvalResults) -> list[tuple[str, str]]:
    sources = sorted({text.source for text in results.texts})
    names = _names(results)
    return [
        ("texts", f"{len(results.texts):,}"),
        ("data sets", f"{len(sources)}: {', '.join(sources)}"),
        *((name, model) for model, name in names.items() if name != model),
    ]


def _charts(results: TuneEvalResults) -> Iterable[Chart]:
    """Bars by number of shots, models side by side."""
    for column in _COLUMNS:
        series = []
        for number, (model, name) in enumerate(_names(results).items()):
            values = {
                _shots_name(one.shots): value
                for one in results.measurements
                if one.model == model and (value := column.value(one.measures)) is not None
            }
            series.append(Series(name, values, charts.colour_of(number), column.is_share))
        if any(one.values for one in series):
            identity = column.name.replace("_", "-")
            yield charts.columns(identity, column.heading, series, ("", ""), column.meaning)


def _examples(results: TuneEvalResults) -> list[_Example]:
    """Texts at even distances in the order of the data sets."""
    number = min(_NUM_EXAMPLES, len(results.texts))
    examples = []
    for position in (step * len(results.texts) // number for step in range(number)):
        text = results.texts[position]
        written = {_GOLD: text.gold} if text.gold else {}
        written |= {_name_of(results, one): one.pairs[position] for one in results.measurements}
        shown = {
            name: view_shot(Shot(text.id, text.text, pairs)) for name, pairs in written.items()
        }
        pairs_shown = {name: view.pairs for name, view in shown.items()}
        examples.append(_Example(text.source, next(iter(shown.values())).text, pairs_shown))
    return examples


def _counts(results: TuneEvalResults) -> dict[str, dict[str, int]]:
    """Kinds, categories, what was dropped and what did not fit, of each measurement."""
    counts = {}
    for one in results.measurements:
        for title, found in (
            ("kinds of pairs", one.measures.kinds),
            ("task categories", one.measures.categories),
            ("pieces that are no new pair", one.measures.fragments_dropped),
            ("prompts", one.measures.prompts),
        ):
            if found:
                named = {plain(name): number for name, number in found.items()}
                counts[f"{_name_of(results, one)}: {title}"] = named
    return counts
