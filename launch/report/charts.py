"""Charts as plotly specs, small enough to be written into a page and legible on light and dark.

Colours of text and grid come from the page's style sheet, those of the data are chosen to stand
out from both a white and a black ground. Labels may come from texts of the corpus, and plotly reads
a few HTML tags in labels: every label goes through `_escaped`.
"""

import html
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from launch.report.wording import compact, percent, wrap_label

OWN_COLOUR, BASELINE_COLOUR = "#2f81f7", "#e08a1e"
_COLOURS = (OWN_COLOUR, "#d9534f", "#12a594", "#a663cc", "#7a8699", "#d6409f", "#5c9a1f")
_MARK_COLOUR = "#e5484d"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
_BAR_HEIGHT, _BAR_MARGIN = 22, 96
_PERCENT = ".0%"


@dataclass(frozen=True)
class Chart:
    """One chart of the page."""

    id: str
    title: str
    note: str
    height: int
    spec: Mapping[str, Any]
    """`data` and `layout` of plotly."""
    is_wide: bool = False


@dataclass(frozen=True)
class Series:
    """Values with a name, by label of the axis."""

    name: str
    values: Mapping[str, float]
    colour: str = OWN_COLOUR
    is_share: bool = False
    """Whether the values are shares of 0..1."""
    counts: Mapping[str, float] = field(default_factory=dict)
    """What the shares were made of, for the hover."""

    @classmethod
    def shares(cls, name: str, counts: Mapping[str, float], colour: str = OWN_COLOUR) -> "Series":
        """Counts as shares of their sum."""
        total = sum(counts.values()) or 1
        return cls(name, {label: n / total for label, n in counts.items()}, colour, True, counts)

    def text(self, label: str) -> str:
        """A value as it stands at a bar."""
        value = self.values.get(label, 0)
        if self.is_share:
            return percent(value)
        return compact(value) if value == int(value) else f"{value:,.4g}"

    def hover(self, label: str) -> str:
        """A value with its count."""
        count = f" ({self.counts[label]:,.0f})" if label in self.counts else ""
        value = self.values.get(label, 0)
        is_count = not self.is_share and value == int(value)
        return f"{_escaped(label)}: {f'{value:,.0f}' if is_count else self.text(label)}{count}"


@dataclass(frozen=True)
class Mark:
    """An anomaly, as a cross."""

    at: float
    """Step (or time)."""
    value: float
    """Where it stands on the values' axis."""
    text: str


def colour_of(number: int) -> str:
    """The colour of one of several series that are alike, counted from 0."""
    return _COLOURS[number % len(_COLOURS)]


def columns(
    identity: str, title: str, series: Sequence[Series], axes: tuple[str, str], note: str = ""
) -> Chart:
    """Upright bars over labels in their given order, side by side for several series.

    Args:
        identity: id of the chart in the page.
        title: heading.
        series: each with the same order of labels.
        axes: titles of the labels' axis and of the values' axis.
        note: a sentence below the heading.
    """
    labels = list(dict.fromkeys(label for one in series for label in one.values))
    data = [
        {
            **_bar(one, labels),
            "x": list(range(len(labels))),
            "y": [one.values.get(label, 0) for label in labels],
        }
        for one in series
    ]
    layout = _layout(axes, has_legend=len(series) > 1)
    layout["xaxis"] |= {
        "tickvals": list(range(len(labels))),
        "ticktext": [_escaped(label) for label in labels],
        "showgrid": False,
    }
    layout["yaxis"] |= {**_ticks(series), "rangemode": "tozero"}
    return Chart(identity, title, note, 300, _checked(data, layout))


def ranking(
    identity: str,
    title: str,
    series: Sequence[Series],
    axis: str,
    note: str = "",
    stack: bool = False,
) -> Chart:
    """Lying bars with their values, the first label on top.

    Args:
        identity: id of the chart in the page.
        title: heading.
        series: the first one's order counts.
        axis: title of the values' axis.
        note: a sentence below the heading.
        stack: one bar a label, the series behind one another.
    """
    labels = list(dict.fromkeys(label for one in series for label in one.values))
    positions = [len(labels) - number for number in range(len(labels))]
    data = [
        {
            **_bar(one, labels),
            "orientation": "h",
            "x": [one.values.get(label, 0) for label in labels],
            "y": positions,
            "text": None if stack else [one.text(label) for label in labels],
            "textposition": "none" if stack else "outside",
            "cliponaxis": False,
        }
        # Lying bars of a group are drawn from below: turned, so that the first series is on top.
        for one in (series if stack else reversed(series))
    ]
    layout = _layout((axis, ""), has_legend=len(series) > 1)
    layout["barmode"] = "stack" if stack else "group"
    layout["legend"]["traceorder"] = "normal" if stack else "reversed"
    longest = max((value for one in series for value in one.values.values()), default=0) or 1
    layout["xaxis"] |= {**_ticks(series), "nticks": 5}
    layout["xaxis"] |= {"rangemode": "tozero"} if stack else {"range": [0, longest * 1.3]}
    layout["yaxis"] |= {
        "tickvals": positions,
        "ticktext": ["<br>".join(map(_escaped, wrap_label(label))) for label in labels],
        "showgrid": False,
        # Invisible ticks keep the labels off the bars.
        "ticks": "outside",
        "ticklen": 6,
        "tickcolor": "rgba(0,0,0,0)",
        "range": [0.4, len(labels) + 0.6],
    }
    per_label = _BAR_HEIGHT * (1 if stack else len(series)) + 12
    has_two_lines = any(len(wrap_label(label)) > 1 for label in labels)
    height = _BAR_MARGIN + len(labels) * max(per_label, 38 if has_two_lines else 0)
    return Chart(identity, title, note, height, _checked(data, layout))


def lines(
    identity: str,
    title: str,
    steps: Mapping[str, Sequence[float]],
    series: Mapping[str, Sequence[float | None]],
    axis: str,
    note: str = "",
    tick_format: str = "",
    dashed: str = "",
    over: str = "step",
    beside: Mapping[str, str] = {},
    marks: Sequence[Mark] = (),
) -> Chart:
    """Values over training steps, or over time.

    Args:
        identity: id of the chart in the page.
        title: heading.
        steps: steps (or times) of each series, by its name.
        series: values; None is a gap.
        axis: title of the values' axis.
        note: a sentence below the heading.
        tick_format: of the values, as d3 writes it; given one, the axis begins at zero.
        dashed: name of the series that is only there to compare with.
        over: what is counted along the other axis.
        beside: series drawn dashed in the colour of another one, by name.
        marks: anomalies.
    """
    colours = {name: colour_of(number) for number, name in enumerate(series)}
    colours |= {name: colours[other] for name, other in beside.items()}
    dashed_names = {*beside, *list(series)[len(_COLOURS) :], dashed}
    if dashed in series:
        colours[dashed] = BASELINE_COLOUR
    is_step = over == "step"
    hover = "step %{x:,}" if is_step else f"%{{x:.1f}} {over}"
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers" if len(values) == 1 else "lines",
            "name": _escaped(name),
            "x": list(steps[name]),
            "y": [None if value is None or not math.isfinite(value) else value for value in values],
            "line": {
                "color": colours[name],
                "width": 2,
                "dash": "dash" if name in dashed_names else "solid",
            },
            "hovertemplate": f"{hover}: %{{y:,.4~g}}<extra>%{{fullData.name}}</extra>",
        }
        for name, values in series.items()
    ]
    if marks:
        data.append(_crosses(marks, hover))
    layout = _layout((over, axis), has_legend=len(data) > 1)
    layout["xaxis"] |= {"tickformat": ",d" if is_step else ",~g", "nticks": 8}
    layout["yaxis"] |= {
        "tickformat": tick_format,
        "rangemode": "tozero" if tick_format else "normal",
    }
    layout["hovermode"] = "x unified" if len(series) > 1 else "closest"
    return Chart(identity, title, note, 340, _checked(data, layout), is_wide=len(series) > 1)


def dots(
    identity: str, title: str, groups: Mapping[str, Sequence[float]], axis: str, note: str = ""
) -> Chart:
    """Each value of some groups as a dot, and beside them mean and standard deviation.

    Args:
        identity: id of the chart in the page.
        title: heading.
        groups: values by name.
        axis: title of the values' axis.
        note: a sentence below the heading.
    """
    numbered = list(enumerate(groups.values()))
    means = [statistics.fmean(values) for values in groups.values()]
    spreads = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in groups.values()]
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "each",
            "x": [number - 0.12 for number, values in numbered for _ in values],
            "y": [value for _, values in numbered for value in values],
            "marker": {"color": BASELINE_COLOUR, "size": 7},
            "hovertemplate": "%{y:.4f}<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "mean and standard deviation",
            "x": [number + 0.12 for number, _ in numbered],
            "y": means,
            "error_y": {"type": "data", "array": spreads, "color": OWN_COLOUR},
            "marker": {"color": OWN_COLOUR, "size": 10, "symbol": "diamond"},
            "hovertemplate": "mean %{y:.4f}<extra></extra>",
        },
    ]
    layout = _layout(("", axis), has_legend=True)
    layout["xaxis"] |= {
        "tickvals": [number for number, _ in numbered],
        "ticktext": [_escaped(name) for name in groups],
        "showgrid": False,
        "range": [-0.5, len(groups) - 0.5],
    }
    layout["yaxis"] |= {"tickformat": ".4~g"}
    return Chart(identity, title, note, 320, _checked(data, layout))


def _crosses(marks: Sequence[Mark], hover: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "anomalies",
        "x": [mark.at for mark in marks],
        "y": [mark.value for mark in marks],
        "marker": {"color": _MARK_COLOUR, "size": 9, "symbol": "x"},
        "hovertext": [_escaped(mark.text) for mark in marks],
        "hovertemplate": f"{hover}: %{{hovertext}}<extra></extra>",
    }


def _bar(one: Series, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "bar",
        "name": _escaped(one.name),
        "marker": {"color": one.colour},
        "hovertext": [one.hover(label) for label in labels],
        "hovertemplate": "%{hovertext}<extra>%{fullData.name}</extra>",
    }


def _ticks(series: Sequence[Series]) -> dict[str, Any]:
    """Format of the values' axis: percent, whole numbers or fractions."""
    values = [value for one in series for value in one.values.values()]
    if series[0].is_share:
        return {"tickformat": _PERCENT}
    if any(value != int(value) for value in values):
        return {"tickformat": "~g"}
    return {"tickformat": ",~s"} | ({"dtick": 1} if max(values, default=0) < 5 else {})


def _layout(axes: tuple[str, str], *, has_legend: bool) -> dict[str, Any]:
    x_title, y_title = axes
    axis = {"automargin": True, "zeroline": False, "fixedrange": True, "ticks": ""}
    return {
        "template": {},
        "font": {"family": _FONT, "size": 12},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 20, "t": 36 if has_legend else 8, "b": 8},
        "showlegend": has_legend,
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.0, "yanchor": "bottom"},
        "bargap": 0.25,
        "dragmode": False,
        "xaxis": {**axis, "title": {"text": x_title, "standoff": 8}},
        "yaxis": {**axis, "title": {"text": y_title, "standoff": 8}},
    }


def _escaped(label: str) -> str:
    return html.escape(label, quote=False)


def _checked(data: Sequence[Mapping[str, Any]], layout: Mapping[str, Any]) -> dict[str, Any]:
    """The spec, after plotly has refused every name and value that it does not know."""
    from plotly.graph_objects import Figure

    spec: dict[str, Any] = Figure(data=data, layout=layout).to_plotly_json()
    return spec
