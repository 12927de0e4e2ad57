"""Figures as benchmarks and comparisons end: one JSON line that a script can read."""

import json
import os
import platform
from typing import Any

Bars = dict[str, dict[str, Any]]
"""By name of the figure: `value`, the `bar` it must reach if there is one, whether it is `ok`."""


def figure(value: float, digits: int = 3) -> dict[str, Any]:
    """A figure without a bar."""
    return {"value": round(value, digits), "bar": None, "ok": True}


def bars_line(benchmark: str, bars: Bars, accelerator: str = "") -> str:
    """The JSON line that a benchmark ends in.

    Args:
        benchmark: its name.
        bars: its figures.
        accelerator: on which it ran; empty: on none.
    """
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    machine = f"{accelerator}, {machine}" if accelerator else machine
    return json.dumps({"benchmark": benchmark, "bars": bars, "machine": machine})
