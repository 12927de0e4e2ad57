"""`ipt mixture`: what a run will see of each source, before it costs anything.

source          packed      run   share   epochs  over the run
sotu-raw         2.95M   98,304   80.0%     0.03  ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇
sotu-augmented  18,432   24,576   20.0%     1.33  ▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂
"""

from collections.abc import Iterator

import numpy as np

from launch.config import TrainingRunConfig
from pipeline import storage
from pipeline.loader.packed import open_rows
from pipeline.mixture.planning import MixturePlan, PackedSources, plan_run

_BINS = 32
_LEVELS = " ▁▂▃▄▅▆▇█"
_SHOWN_SOURCES = 30


class MixtureView:
    """The mixture of a config over the rows it was packed into."""

    def __init__(self, config: TrainingRunConfig) -> None:
        """Plan the run.

        Raises:
            InputError: there are no packed rows yet, or the mixture cannot be had of them.
        """
        self._config = config.mixture
        self._total_rows = config.train.num_steps * config.train.rows_per_batch
        sources: PackedSources = open_rows(config.folder.rows).sizes
        self.plan: MixturePlan = plan_run(self._config, sources, self._total_rows, config.run.seed)

    def lines(self, *, all_sources: bool) -> Iterator[str]:
        """Tables of the phases and of the whole run, and warnings."""
        plan, tokens = self.plan, self._total_rows * self.plan.seq_len
        yield f"mixture: {self._config.describe()}"
        yield f"run: {self._total_rows:,} rows of {plan.seq_len:,}, {_short(tokens)} tokens"
        order = np.argsort(-plan.counts, kind="stable")
        shown = order if all_sources else order[:_SHOWN_SOURCES]
        if len(plan.phases) > 1:
            for number, phase in enumerate(plan.phases, start=1):
                part = f"{phase.start / self._total_rows:.1%} to {phase.end / self._total_rows:.1%}"
                yield f"\nphase {number}: {part} of the run, rows {phase.start:,} to {phase.end:,}"
                yield from self._table(shown, phase.counts, None)
            yield "\nwhole run"
        else:
            yield ""
        yield from self._table(shown, plan.counts, self._shares_over_time())
        if hidden := len(order) - len(shown):
            yield f"... and {hidden} smaller sources (--all shows them)"
        for warning in plan.warnings:
            yield f"warning: {warning}"

    def write_page(self, target: str) -> None:
        """Write the shares over the run as a page with one interactive chart."""
        import plotly.graph_objects as go

        shares = self._shares_over_time()
        progress = (np.arange(_BINS) + 0.5) / _BINS
        figure = go.Figure()
        for number in np.argsort(-self.plan.counts, kind="stable").tolist():
            figure.add_scatter(
                x=progress, y=shares[number], name=self.plan.names[number], stackgroup="share"
            )
        figure.update_layout(
            title=f"Mixture: {self._config.describe()}",
            xaxis={"title": "training progress", "tickformat": ".0%"},
            yaxis={"title": "share of tokens", "tickformat": ".0%", "range": [0, 1]},
        )
        storage.write_atomic(target, figure.to_html(include_plotlyjs=True).encode())

    def _shares_over_time(self) -> np.ndarray:
        """(num_sources, _BINS) share of each source by the weights, over the run."""
        borders = np.linspace(0, self._total_rows, _BINS + 1).round().astype(int).tolist()
        earned = np.stack([self.plan.mixture.earned_before(row) for row in borders], axis=1)
        shares: np.ndarray = np.diff(earned, axis=1) / np.maximum(np.diff(borders), 1)
        return shares

    def _table(
        self, sources: np.ndarray, counts: np.ndarray, shares: np.ndarray | None
    ) -> Iterator[str]:
        plan = self.plan
        width = max(len("source"), *(len(plan.names[number]) for number in sources))
        head = f"{'source':<{width}} {'packed':>8} {'tokens':>8} {'share':>7} {'epochs':>8}"
        yield head + ("" if shares is None else "  over the run")
        for number in sources.tolist():
            rows, packed = int(counts[number]), int(plan.num_rows[number])
            line = (
                f"{plan.names[number]:<{width}} {_short(packed * plan.seq_len):>8} "
                f"{_short(rows * plan.seq_len):>8} {rows / counts.sum():>7.2%} "
                f"{rows / packed:>8.2f}"
            )
            yield line if shares is None else f"{line}  {_bars(shares[number])}"


def _bars(shares: np.ndarray) -> str:
    """Shares as a row of blocks; the smallest one stands for anything above 0."""
    levels = np.ceil(np.clip(shares, 0, 1) * (len(_LEVELS) - 1)).astype(int)
    return "".join(_LEVELS[level] for level in levels.tolist())


def _short(count: int) -> str:
    """A count in few characters: 98,304 or 2.95M."""
    for scale, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M")):
        if count >= scale * 0.9995:
            return (
                f"{count / scale:.3g}{unit}"
                if count < 1000 * scale
                else f"{count / scale:.0f}{unit}"
            )
    return f"{count:,}"
