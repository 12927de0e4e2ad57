"""How fast synthesis went, from the progress that its driver noted."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any

from pipeline.run_folder import RunFolder
from train.metrics import read_metrics

# A line stands for two seconds, in which a slow engine ends none of its documents or several.
_MAX_POINTS, _MIN_LINES_PER_POINT = 200, 5
_KEYS = ("done", "output_tokens")

Line = Mapping[str, Any]


@dataclass(frozen=True)
class SynthesisSpeed:
    """Rates over the time that synthesis worked, over all its starts."""

    minutes: Sequence[float] = ()
    """End of each point, in minutes of work, time between starts left out."""
    rates_per_s: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """By key of the progress lines: what was done a second up to each point."""
    num_starts: int = 0

    def mean_per_s(self, key: str) -> float | None:
        """The mean rate of a key, weighted by time; None where nothing was noted."""
        if not self.minutes:
            return None
        spans = [end - begin for begin, end in pairwise((0.0, *self.minutes))]
        weighted = zip(self.rates_per_s[key], spans, strict=True)
        return sum(rate * span for rate, span in weighted) / self.minutes[-1]


def gather_speed(folder: RunFolder) -> SynthesisSpeed:
    """Read what synthesis noted; an engine's start, before the first line, is left out."""
    starts = [list(lines) for _, lines in groupby(read_metrics(folder.synth_metrics), _start)]
    width = max(_MIN_LINES_PER_POINT, math.ceil(sum(map(len, starts)) / _MAX_POINTS))
    minutes: list[float] = []
    rates: dict[str, list[float]] = {}
    seconds = 0.0
    for lines in starts:
        ends = [*lines[:-1:width], lines[-1]]
        for before, after in pairwise(ends):
            elapsed_s = after["elapsed_s"] - before["elapsed_s"]
            if elapsed_s <= 0:
                continue
            seconds += elapsed_s
            minutes.append(seconds / 60)
            for key in _KEYS:
                done = after.get(key, 0) - before.get(key, 0)
                rates.setdefault(key, []).append(done / elapsed_s)
    return SynthesisSpeed(minutes, rates, len(starts))


def _start(line: Line) -> float:
    return float(line["start"])
