"""What a person sees of synthesis: figures from the board, rates, and how they are shown."""

import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from pipeline.progress import duration, short_number
from pipeline.redaction import printable

_WINDOW_S = 60.0
_PLAIN_INTERVAL_S = 10.0


class SynthProgress:
    """Turns the board's counts into figures for people: shares, rates, time left."""

    def __init__(self, num_documents: int) -> None:
        """Take the number of documents of all parts together."""
        self._num_documents = num_documents
        self._history: deque[tuple[float, Mapping[str, int]]] = deque()

    def update(self, figures: Mapping[str, int]) -> dict[str, Any]:
        """One line of `metrics.jsonl`: the board's counts and what follows from them."""
        now = time.monotonic()
        if figures.get("documents"):  # the start of the engines is not part of any rate
            self._history.append((now, figures))
        while self._history and now - self._history[0][0] > _WINDOW_S:
            self._history.popleft()
        # Parts are about alike, so those committed by earlier starts stand for their documents.
        before = round(
            self._num_documents * figures["parts_done_before"] / max(1, figures["parts_total"])
        )
        done = min(self._num_documents, before + figures.get("documents", 0))
        if figures["parts_done"] == figures["parts_total"]:
            done = self._num_documents
        rate = self._per_s("documents")
        line = {
            **figures,
            "done": done,
            "documents": figures.get("documents", 0),
            "documents_total": self._num_documents,
            "documents_per_s": round(rate, 3),
            "output_tokens_per_s": round(self._per_s("output_tokens"), 1),
            "prefix_hit_rate": _share(figures, "cached_tokens", "prompt_tokens"),
        }
        if rate > 0:
            line["time_left_s"] = round((self._num_documents - done) / rate)
        return line

    def _per_s(self, name: str) -> float:
        """Rate over the last minute."""
        if len(self._history) < 2:
            return 0.0
        (began, first), (ended, last) = self._history[0], self._history[-1]
        return (last.get(name, 0) - first.get(name, 0)) / max(ended - began, 1e-6)


def describe(line: Mapping[str, Any]) -> dict[str, str]:
    """Figures of a line by what they are called, in the order in which they are shown."""
    documents = line.get("documents", 0)
    dropped = sum(count for name, count in line.items() if name.startswith("pairs_dropped."))
    pairs = line.get("pairs", 0)
    shown = {
        "parts": f"{line['parts_done']:,}/{line['parts_total']:,}",
        "documents": f"{line['done']:,}/{line['documents_total']:,}",
        "documents/s": short_number(line["documents_per_s"]),
        "output tokens/s": short_number(line["output_tokens_per_s"]),
        "prefix hits": f"{line['prefix_hit_rate']:.0%}",
        "pairs/text": f"{pairs / documents:.2f}" if documents else "-",
        "pairs dropped": f"{dropped / (dropped + pairs):.0%}" if dropped + pairs else "-",
        "workers": f"{line['workers']:,}",
        "restarts": f"{line['engine_restarts'] + line['workers_lost']:,}",
    }
    if not line.get("prompt_tokens"):
        del shown["output tokens/s"], shown["prefix hits"]
    if quarantined := line.get("documents_quarantined"):
        shown["quarantined"] = f"{quarantined:,}"
    if "time_left_s" in line:
        shown["left"] = duration(line["time_left_s"])
    return shown


def plain(line: Mapping[str, Any]) -> str:
    """All figures in one line."""
    return "  ".join(f"{name} {value}" for name, value in describe(line).items())


class SynthView:
    """Shows progress: a live table on a terminal, elsewhere a line now and then."""

    def __init__(self) -> None:
        """Look where standard output leads."""
        console = Console()
        self._live = Live(console=console, transient=False) if sys.stdout.isatty() else None
        self._last_s = time.monotonic()
        self._waiting = ""

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the last figures on the screen."""
        if self._live is not None:
            self._live.stop()
        elif self._waiting:
            self.say(self._waiting)

    def show(self, line: Mapping[str, Any]) -> None:
        """Show a line of figures."""
        if not line["documents"]:
            return  # engines are starting
        if self._live is not None:
            self._live.update(_table(line))
            return
        self._waiting = plain(line)
        if time.monotonic() - self._last_s >= _PLAIN_INTERVAL_S:
            self.say(self._waiting)
            self._last_s, self._waiting = time.monotonic(), ""

    def say(self, text: str) -> None:
        """Show a sentence."""
        shown = f"synth   {printable(text)}"
        if self._live is not None:
            self._live.console.print(shown, markup=False)
        else:
            print(shown, flush=True)


def _table(line: Mapping[str, Any]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_row("synth", ProgressBar(line["documents_total"] or 1, line["done"], width=40))
    for name, value in describe(line).items():
        grid.add_row(f"  {name}", value)
    return grid


def _share(figures: Mapping[str, int], part: str, whole: str) -> float:
    return round(figures.get(part, 0) / figures[whole], 4) if figures.get(whole) else 0.0
