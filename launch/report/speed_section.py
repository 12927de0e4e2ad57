"""Documents and tokens a second over the time of synthesis."""

from collections.abc import Iterator

from launch.report import charts
from launch.report.charts import Chart
from launch.report.sections import Section
from launch.report.speed import SynthesisSpeed

_RATES = (
    ("done", "Speed of synthesis", "documents/s"),
    ("output_tokens", "Speed of the engines", "output tokens/s"),
)


def speed_section(speed: SynthesisSpeed) -> Section:
    """Documents and tokens a second over the time of synthesis."""
    if not speed.minutes:
        return Section("speed", "Throughput", missing="Synthesis has noted no progress yet.")
    begun = "once" if speed.num_starts == 1 else f"{speed.num_starts:,} times"
    return Section(
        "speed",
        "Throughput",
        intro=f"Synthesis was started {begun}; the time until its engines' first reply is left "
        "out. The speed of training stands below Training.",
        charts=list(_charts(speed)),
    )


def _charts(speed: SynthesisSpeed) -> Iterator[Chart]:
    for key, title, axis in _RATES:
        values = speed.rates_per_s[key]
        if any(values):
            yield charts.lines(
                f"speed-{key.replace('_', '-')}",
                title,
                {title: speed.minutes},
                {title: values},
                axis,
                tick_format=",~g",
                over="minutes of work",
            )
