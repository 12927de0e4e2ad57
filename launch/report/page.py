"""The page: figures into sections, sections into one HTML file that loads nothing from elsewhere.

Texts of a corpus may hold anything. Jinja escapes them in HTML, `_script_data` in the data of
charts, and the page's content security policy lets no script run but the two that it names.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from launch.report.diversity_section import diversity_section
from launch.report.dropped_section import dropped_section
from launch.report.examples import view_chains
from launch.report.figures import RunFigures, gather_run
from launch.report.overview import facts, tiles
from launch.report.pairs_section import pairs_section
from launch.report.sections import Section, not_there_yet
from launch.report.speed_section import speed_section
from launch.report.training_section import training_section
from launch.report.wording import plain
from pipeline import storage
from pipeline.run_folder import RunFolder

_FOLDER = Path(__file__).parent


def write_report(
    folder: RunFolder, target: str, baseline: RunFolder | None, max_documents: int
) -> None:
    """Write the page of a run, atomically.

    Args:
        folder: the run, at any stage.
        target: file to write.
        baseline: another run to compare with, or None.
        max_documents: most documents to read of each run for corpus metrics.

    Raises:
        InputError: a run has no stage at all, or one of another contract version.
    """
    run = gather_run(folder, max_documents)
    other = gather_run(baseline, max_documents) if baseline is not None else None
    storage.write_atomic(target, render_page(run, other).encode("utf-8", "replace"))


def render_page(run: RunFigures, baseline: RunFigures | None = None) -> str:
    """The HTML of a run's page."""
    return render_template(
        "page.html.j2",
        run=run,
        baseline=baseline,
        facts=facts(run),
        tiles=tiles(run),
        sections=_sections(run, baseline),
    )


def render_template(name: str, /, **values: Any) -> str:
    """A template of this folder with style and scripts in it.

    Args:
        name: its file.
        values: what it shows.
    """
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = plain
    environment.filters["script_data"] = _script_data
    scripts = [get_plotlyjs(), (_FOLDER / "page.js").read_text(encoding="utf-8")]
    return environment.get_template(name).render(
        style=Markup((_FOLDER / "page.css").read_text(encoding="utf-8")),
        scripts=[Markup(script) for script in scripts],
        policy=_policy(scripts),
        **values,
    )


def _sections(run: RunFigures, baseline: RunFigures | None) -> list[Section]:
    return [
        dropped_section(run),
        pairs_section(run, baseline),
        diversity_section(run, baseline),
        speed_section(run.speed),
        training_section(run, baseline),
        _examples_section(run),
        Section(
            "counts",
            "Everything counted",
            intro="Sums over the committed parts of each stage.",
            counts={
                stage.name: dict(sorted(stage.counts.items()))
                for stage in run.stages.values()
                if stage.counts
            },
        ),
    ]


def _examples_section(run: RunFigures) -> Section:
    identity, title = "examples", "Examples"
    if run.corpus is None:
        return Section(identity, title, missing=not_there_yet(run, "synth"))
    return Section(
        identity,
        title,
        intro="Chains of texts with pairs, chosen by the hash of their content; the same run "
        "always shows the same ones.",
        missing="" if run.corpus.examples else "No text has a pair.",
        examples=view_chains(run.corpus.examples, run.layouts),
    )


def _script_data(spec: Mapping[str, Any]) -> Markup:
    """JSON that cannot end the script element in which it stands."""
    text = json.dumps(spec, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _policy(scripts: list[str]) -> str:
    """A policy under which nothing is loaded and only these scripts run."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:"
    )
