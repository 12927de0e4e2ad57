"""`metrics.jsonl` (a record a step, all there is) and the console line (for people).

A line of the file holds a step, or what an evaluation after that step adds to it:

    {"step": 200, "loss": 2.31, "perf/tokens_per_s": 51200, ...}
    {"step": 200, "heldout/raw/loss": 2.45, "heldout/raw/perplexity": 11.6,
     "heldout/kind/multiple_choice/loss": 1.2, "sample": {"prompt": "The", "completion": "..."}}

Optional in a step: `perf/mfu`, where the accelerator's peak is known, and `anomaly`, a text such as
`the loss is not finite (nan)`.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pipeline import storage
from pipeline.progress import duration

_HELDOUT, _KIND, _LOSS = "heldout/", "kind/", "/loss"
_DATA, _TOKENS = "data/", "/tokens"


class MetricsLog:
    """Appends steps to a file; after a resume it begins where the checkpoint stands."""

    def __init__(self, path: str, num_steps_done: int) -> None:
        """Open `path`, dropping lines of steps that will be done again."""
        self._path = Path(path)
        kept = [line for line in read_metrics(path) if line["step"] <= num_steps_done]
        storage.write_atomic(path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self._held_back = b""

    def append(self, metrics: Mapping[str, Any]) -> None:
        """Add one step, or what an evaluation adds to the last one; a kill cuts only this line.

        What cannot be written, as on a full disk, is held back and written with the next step.
        """
        self._held_back += (json.dumps(metrics) + "\n").encode()
        # Opening the file anew takes some 20 us, which is nothing beside a step.
        size = self._path.stat().st_size
        try:
            with self._path.open("ab") as file:
                file.write(self._held_back)
        except OSError:
            os.truncate(self._path, size)  # of half a line
        else:
            self._held_back = b""

    def sync(self) -> bool:
        """Make what is written survive a power cut; False if something is held back."""
        if self._held_back:
            return False
        with self._path.open("rb") as file:
            os.fsync(file.fileno())
        return True


def read_metrics(path: str) -> list[dict[str, Any]]:
    """All steps of a metrics file, one record each; empty if there is none.

    A line that only adds to the step before it, as an evaluation's does, is part of that record; a
    step that was written twice stays two. A line cut off by a kill is left out.
    """
    if not storage.exists(path):
        return []
    records: list[dict[str, Any]] = []
    for text in storage.read_bytes(path).decode().split("\n")[:-1]:
        if not text:
            continue
        line = json.loads(text)
        if "step" in line and records and _adds_to(records[-1], line):
            records[-1].update(line)
        else:
            records.append(line)
    return records


def _adds_to(record: Mapping[str, Any], line: Mapping[str, Any]) -> bool:
    return record.get("step") == line["step"] and record.keys() & line.keys() == {"step"}


def tokens_by_source(metrics: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Tokens read of each row source, summed over records."""
    tokens: Counter[str] = Counter()
    for record in metrics:
        for key, count in record.items():
            if key.startswith(_DATA) and key.endswith(_TOKENS):
                tokens[key.removeprefix(_DATA).removesuffix(_TOKENS)] += int(count)
    return tokens


def heldout_losses(metrics: Mapping[str, Any], by: Literal["source", "kind"]) -> dict[str, float]:
    """A record's held-out losses, by the name of the source or of the kind of pair."""
    found = {}
    for key, value in metrics.items():
        if key.startswith(_HELDOUT) and key.endswith(_LOSS):
            name = key.removeprefix(_HELDOUT).removesuffix(_LOSS)
            if name.startswith(_KIND) == (by == "kind"):
                found[name.removeprefix(_KIND)] = value
    return found


class ConsoleLine:
    """One aligned line a step, with time left."""

    def __init__(self, num_steps: int, num_steps_done: int) -> None:
        """Start timing at `num_steps_done` of `num_steps`."""
        self._num_steps, self._first = num_steps, num_steps_done
        self._started = time.monotonic()

    def format(self, metrics: Mapping[str, Any]) -> str:
        """The line of one step: the same columns at the same places for each step of a run."""
        step = metrics["step"]
        elapsed_s = time.monotonic() - self._started
        left_s = elapsed_s / max(1, step - self._first) * (self._num_steps - step)
        mfu = metrics.get("perf/mfu")
        columns = [
            self._step(step),
            f"loss {_fitted(metrics['loss'], 8, 4)}",
            f"lr {metrics['lr']:.2e}",
            f"grad {_fitted(metrics['grad_norm'], 7, 2)}",
            f"tokens/s {metrics['perf/tokens_per_s']:>10,.0f}",
            f"mfu {mfu:6.1%}" if mfu is not None else "",
            f"wait {metrics['time/data_wait_share']:6.1%}",
            f"mem {metrics['memory_gib']:5.1f} GiB",
            f"{duration(left_s):>8} left",
            metrics.get("anomaly", ""),
        ]
        return "  ".join(filter(None, columns))

    def format_heldout(self, metrics: Mapping[str, Any]) -> list[str]:
        """Lines about an evaluation: losses by source, by kind of pair, what the model wrote."""
        shown = [
            [f"{name} {_fitted(loss, 8, 4)}" for name, loss in sorted(losses.items())]
            for losses in (heldout_losses(metrics, "source"), heldout_losses(metrics, "kind"))
        ]
        titles = ("held-out loss", "held-out loss by kind")
        head = self._step(metrics["step"])
        lines = [
            "  ".join([head, title, *columns])
            for title, columns in zip(titles, shown, strict=True)
            if columns
        ]
        if sample := metrics.get("sample"):
            lines.append(f"{head}  sample {sample['prompt']!r} -> {sample['completion']!r}")
        return lines

    def _step(self, step: int) -> str:
        return f"step {step:>{len(str(self._num_steps))}}/{self._num_steps}"


def _fitted(value: float, width: int, digits: int) -> str:
    """A number in exactly `width` characters, with fewer digits where it is large."""
    text = f"{value:.{digits}f}"
    if len(text) > width:
        text = f"{value:.{width - 7}e}"
    return f"{text:>{width}}"
