"""How every benchmark ends: a table of its figures, one JSON line, and the exit code."""

from collections.abc import Mapping
from typing import Any

from launch.bars import Bars, bars_line, figure

__all__ = ["Bars", "at_least", "at_most", "conclude", "figure", "print_table"]


def at_least(value: float, bar: float) -> dict[str, Any]:
    """A figure that must reach its bar."""
    return {"value": round(value, 3), "bar": bar, "ok": value >= bar}


def at_most(value: float, bar: float) -> dict[str, Any]:
    """A figure that must not exceed its bar."""
    return {"value": round(value, 3), "bar": bar, "ok": value <= bar}


def print_table(results: Mapping[str, Mapping[str, float]], columns: Mapping[str, str]) -> None:
    """A row a side, a column a figure; what a side does not have is left out.

    Args:
        results: figures by side.
        columns: format of each figure by its name, such as `,.0f`.
    """
    width = max(map(len, results)) + 2
    print(f"{'side':<{width}}" + "".join(f"{name:>22}" for name in columns))
    for side, result in results.items():
        cells = (format(result[n], form) if n in result else "-" for n, form in columns.items())
        print(f"{side:<{width}}" + "".join(f"{cell:>22}" for cell in cells))


def conclude(benchmark: str, bars: Bars, accelerator: str = "") -> int:
    """Print the end of a benchmark; returns 1 if a bar is missed."""
    width = max(map(len, bars))
    for name, figures in bars.items():
        bar = "" if figures["bar"] is None else f"   bar {figures['bar']:g}"
        missed = "" if figures["ok"] else "   missed"
        print(f"{name:<{width}} {figures['value']:>10}{bar}{missed}")
    print(bars_line(benchmark, bars, accelerator), flush=True)
    return 0 if all(figures["ok"] for figures in bars.values()) else 1
