"""Progress with rates and time left: a live bar on a terminal, plain lines elsewhere."""

import json
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline import storage
from pipeline.redaction import printable

_PLAIN_INTERVAL_S = 10.0


def log_line(text: str) -> None:
    """Write one line, with the time of day, into the log of a worker."""
    print(f"{datetime.now():%H:%M:%S.%f} {printable(text)}", flush=True)


class StageProgress:
    """Shows how far one stage is; use it as a context manager."""

    def __init__(
        self,
        stage: str,
        unit: str,
        total: int | None,
        already_done: int = 0,
        log: "ProgressLog | None" = None,
    ) -> None:
        """Start at `already_done` of `total` units (None: unknown); rates count new work only."""
        self._log = log
        self._stage, self._unit, self._total = stage, unit, total
        self._first = self._done = already_done
        self._started = self._last_line = time.monotonic()
        self._first_report: tuple[float, int] | None = None
        self._figures = ""
        self._bar: Progress | None = None
        if sys.stdout.isatty():
            columns = (
                TextColumn("{task.description}"),
                BarColumn(20),
                TextColumn("{task.fields[text]}"),
            )
            self._bar = Progress(*columns, TimeRemainingColumn(), console=Console(soft_wrap=True))
            self._task = self._bar.add_task(
                f"{stage:<7}", total=total, completed=already_done, text=""
            )

    def __enter__(self) -> Self:
        """Show the bar."""
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Show the last figures and leave them on the screen."""
        if self._bar:
            self._bar.stop()
        elif kind is None:
            self._print_line()
        if self._log:
            self._log.close()

    def update(self, done: int, **figures: float | int | str) -> None:
        """Report that `done` units are finished in all, with further figures to show.

        Rates are counted from the first report on, which leaves an engine's start out of them.
        """
        if self._first_report is None:
            self._first_report = (time.monotonic(), done)
        self._done = done
        if self._log:
            self._log.note(done, figures)
        self._figures = "".join(
            f"  {name} {short_number(value)}" for name, value in figures.items()
        )
        if self._bar:
            self._bar.update(self._task, completed=done, text=self._text())
        elif time.monotonic() - self._last_line >= _PLAIN_INTERVAL_S:
            self._print_line()

    def _print_line(self) -> None:
        self._last_line = time.monotonic()
        print(f"{self._stage:<7} {self._text()}  {self._time_left()}".rstrip(), flush=True)

    def _rate_per_s(self) -> float:
        started, first = self._first_report or (self._started, self._first)
        if self._done == first:  # nothing since the first report: count from the start
            started, first = self._started, self._first
        return (self._done - first) / max(time.monotonic() - started, 1e-6)

    def _text(self) -> str:
        of_total = f"/{self._total:,}" if self._total is not None else ""
        rate = short_number(self._rate_per_s())
        return f"{self._done:,}{of_total} {self._unit}  {rate} {self._unit}/s{self._figures}"

    def _time_left(self) -> str:
        rate = self._rate_per_s()
        if self._total is None or rate <= 0 or self._done >= self._total:
            return ""
        seconds = int((self._total - self._done) / rate)
        return f"{seconds // 60}:{seconds % 60:02d} left"


class ProgressLog:
    """Keeps a stage's progress over time, for reports: one JSON line every two seconds.

    `{"start": 1764043200.5, "elapsed_s": 42.1, "done": 310, ...}`: when this start of the stage
    began (Unix time, s), how long ago that was, units done in all, and the stage's further figures,
    which count from this start. A restart appends. In an object store, which cannot append, the
    lines are further apart. Where it cannot be written, as on a full disk, it says so once and
    ends: the stage goes on, or fails by its own writing.
    """

    def __init__(self, uri: str) -> None:
        """Append to the file `uri`, after its last whole line."""
        self._sink: _AppendedFile | _RewrittenObject | None
        self._sink = _AppendedFile(uri) if storage.is_local(uri) else _RewrittenObject(uri)
        self._uri, self._interval_s = uri, self._sink.interval_s
        self._start, self._began = time.time(), time.monotonic()
        self._last_s = -self._interval_s
        self._waiting = ""

    def note(self, done: int, figures: Mapping[str, float | int | str]) -> None:
        """Take figures; they are written unless the last line is too recent."""
        elapsed_s = time.monotonic() - self._began
        line = {"start": self._start, "elapsed_s": round(elapsed_s, 3), "done": done, **figures}
        self._waiting = json.dumps(line) + "\n"
        if elapsed_s - self._last_s >= self._interval_s:
            self._last_s = elapsed_s
            self.close()

    def close(self) -> None:
        """Write what the last line left out."""
        waiting, self._waiting = self._waiting, ""
        if self._sink is None or not waiting:
            return
        try:
            self._sink.write(waiting)
        except OSError as error:
            print(f"progress is not kept: {self._uri}: {error.strerror}", file=sys.stderr)
            self._sink = None


class _AppendedFile:
    """Lines at the end of a local file."""

    interval_s = 2.0

    def __init__(self, path: str) -> None:
        self._path = Path(path.removeprefix("file://"))
        self._is_appending = False

    def write(self, line: str) -> None:
        if not self._is_appending:
            self._drop_cut_off_line()
            self._is_appending = True
        with open(self._path, "a", encoding="utf-8", opener=storage.no_link) as file:
            file.write(line)

    def _drop_cut_off_line(self) -> None:
        """Remove what a kill or a full disk left of a line at the end of the file."""
        with open(self._path, "a+b", opener=storage.no_link) as file:
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


class _RewrittenObject:
    """An object that is written whole each time."""

    interval_s = 30.0

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._content = storage.read_bytes(uri) if storage.exists(uri) else b""

    def write(self, line: str) -> None:
        self._content += line.encode()
        storage.write_atomic(self._uri, self._content)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, as in `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def short_number(value: float | int | str) -> str:
    """A figure for people: whole where it is large, else three digits."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
