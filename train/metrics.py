"""`metrics.jsonl` (one line a step, the whole record) and the console line (for people)."""

import json
import time
from pathlib import Path
from typing import Any

from pipeline import storage


class MetricsLog:
    """Appends steps to a file; after a resume it begins where the checkpoint stands."""

    def __init__(self, path: str, num_steps_done: int) -> None:
        """Open `path`, dropping lines of steps that will be done again."""
        self._path = Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read_metrics(path) if line["step"] <= num_steps_done]
        partial = self._path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        partial.replace(self._path)

    def append(self, metrics: dict[str, Any]) -> None:
        """Add one step."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")


def read_metrics(path: str) -> list[dict[str, Any]]:
    """All steps of a metrics file; empty if there is none. A line cut off by a kill is left out."""
    if not storage.exists(path):
        return []
    lines = storage.read_bytes(path).decode().split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


class ConsoleLine:
    """One aligned line a step, with time left."""

    def __init__(self, num_steps: int, num_steps_done: int) -> None:
        """Start timing at `num_steps_done` of `num_steps`."""
        self._num_steps, self._first = num_steps, num_steps_done
        self._started = time.monotonic()

    def format(self, metrics: dict[str, Any]) -> str:
        """The line of one step."""
        step = metrics["step"]
        elapsed = time.monotonic() - self._started
        left = int(elapsed / max(1, step - self._first) * (self._num_steps - step))
        return (
            f"step {step:>{len(str(self._num_steps))}}/{self._num_steps}"
            f"  loss {metrics['loss']:7.4f}  lr {metrics['lr']:.2e}"
            f"  grad {metrics['grad_norm']:6.2f}  tokens/s {metrics['perf/tokens_per_s']:>8,.0f}"
            f"  wait {metrics['time/data_wait_share']:5.1%}"
            f"  mem {metrics['memory_gib']:.1f} GiB  {left // 60}:{left % 60:02d} left"
        )
