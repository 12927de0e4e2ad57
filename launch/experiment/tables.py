"""An experiment's figures as lines for the console.

held-out loss (nats per token)   mean    spread  seed 1  seed 2  seed 3  from vanilla
  vanilla                      5.1234  ±0.0100  5.1100  5.1300  5.1302
  instruct                     5.0900  ±0.0120  5.0800  5.0910  5.0990  better than vanilla (...)
"""

from collections.abc import Iterator, Mapping, Sequence

from launch.experiment.results import Measure, Results, verdict_text
from launch.experiment.statistics import Spread


def result_lines(results: Results) -> Iterator[str]:
    """Tables of all measures and data, and what the evidence supports."""
    for measure in results.measures:
        yield from _aligned(measure_rows(measure, results))
    yield from _aligned(data_rows(results))
    yield (
        f"intervals: 95%, paired t over {len(results.seeds)} seeds, each comparison by itself; "
        f"spread: standard deviation over seeds"
    )
    yield from results.conclusions().values()


def cells_of(spread: Spread) -> list[str]:
    """Mean, standard deviation, and each seed's value."""
    deviation = "" if spread.deviation is None else f"±{spread.deviation:.4f}"
    return [f"{spread.mean:.4f}", deviation, *(f"{value:.4f}" for value in spread.values)]


def contaminated_text(dropped: Mapping[str, int]) -> str:
    """How many were dropped, by evaluation set."""
    return ", ".join(f"{name} {count:,}" for name, count in sorted(dropped.items())) or "0"


def measure_rows(measure: Measure, results: Results) -> list[list[str]]:
    """A measure of all arms, the head first.

    Args:
        measure: what was measured.
        results: that it is one of.
    """
    seeds = [f"seed {seed}" for seed in results.seeds]
    rows = [[measure.title, "mean", "spread", *seeds, f"from {results.reference}"]]
    for arm, spread in measure.arms.items():
        found = measure.differences.get(arm)
        verdict = verdict_text(found, results.reference) if found is not None else ""
        rows.append([f"  {arm}", *cells_of(spread), verdict])
    return rows


def data_rows(results: Results) -> list[list[str]]:
    """What every arm was trained on, and what was dropped as contaminated, the head first."""
    sources = list(dict.fromkeys(name for data in results.data.values() for name in data.tokens))
    rows = [["tokens a training", *sources, "documents contaminated", "pairs contaminated"]]
    for arm, data in results.data.items():
        tokens = [f"{data.tokens[name]:,.0f}" if name in data.tokens else "-" for name in sources]
        contaminated = [data.documents_contaminated, data.pairs_contaminated]
        rows.append([f"  {arm}", *tokens, *map(contaminated_text, contaminated)])
    return rows


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows in columns, the first one to the left, those of figures to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *middle = row[:-1]
        cells = [f"{first:<{widths[0]}}"]
        cells += [f"{cell:>{width}}" for cell, width in zip(middle, widths[1:-1], strict=True)]
        yield "  ".join([*cells, row[-1]]).rstrip()
    yield ""
