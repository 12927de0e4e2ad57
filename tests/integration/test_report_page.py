"""The report in a real browser: charts are drawn, nothing fails, nothing is loaded, all fits."""

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from launch.report.page import write_report
from pipeline.contracts import Pair
from pipeline.run_folder import RunFolder
from tests.report_runs import Written, write_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
    "--virtual-time-budget=10000",
)
HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt-get install chromium)"),
]


@dataclass(frozen=True)
class Visit:
    """What a browser made of a page."""

    dom: str
    errors: list[str]

    def charts(self) -> list[bool]:
        """Of each chart that plotly took up, whether it shows bars or lines, not only axes."""
        marks = re.compile(r'class="point"><path d="M|class="js-line" d="M')
        figures = re.findall(
            r'<div class="plot js-plotly-plot".*?</figure>', self.dom, flags=re.DOTALL
        )
        return [bool(marks.search(figure)) for figure in figures]


@pytest.fixture
def visit(tmp_path: Path) -> Callable[..., Visit]:
    """Open a page as a user would."""

    def open_page(page: Path, width: int = 1280) -> Visit:
        done = subprocess.run(
            [
                str(CHROMIUM),
                *FLAGS,
                f"--user-data-dir={tmp_path / 'profile'}",
                f"--window-size={width},2000",
                "--dump-dom",
                page.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        errors = [
            line for line in done.stderr.splitlines() if "CONSOLE" in line or "Uncaught" in line
        ]
        return Visit(done.stdout, errors)

    return open_page


def long_runs(tmp_path: Path) -> tuple[RunFolder, RunFolder]:
    """Two runs with long words, long names and hostile texts, so that there is much to fit."""
    names = ("mine", "baseline")
    runs = []
    for offset, name in enumerate(names):
        documents = [
            Written(
                f"{name} text {number} tells of {'antidisestablishmentarianism' * 6} {HOSTILE}",
                tuple(
                    Pair(f"What does {HOSTILE} text {number + offset} say of {n}?", f"It tells {n}")
                    for n in range(number % 5)
                ),
                dropped=((Pair(HOSTILE, "no"), f"a_reason_of_some_length_{number % 4}"),),
                style=("faq", "step_by_step", "multiple_choice")[number % 3],
            )
            for number in range(40)
        ]
        losses = [5 - step / 20 for step in range(40)]
        runs.append(
            write_run(tmp_path / name, [documents[:20], documents[20:]], bad_records=[
                ("empty_text", HOSTILE), ("duplicate", "x" * 500)], losses=losses)
        )  # fmt: skip
    return runs[0], runs[1]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    mine, baseline = long_runs(tmp_path)
    target = tmp_path / "report.html"
    write_report(mine, str(target), baseline, 1000)
    return target


def with_script(page: Path, script: str) -> Path:
    """A copy of a page without its policy, with one more script."""
    text = re.sub(r"<meta http-equiv=.Content-Security-Policy.[^>]*>", "", page.read_text())
    copy = page.with_name("with-script.html")
    copy.write_text(text.replace("</body>", f"<script>{script}</script></body>"))
    return copy


def test_every_chart_is_drawn_without_an_error(page: Path, visit: Callable[..., Visit]) -> None:
    seen = visit(page)
    assert seen.errors == []
    assert "<title>mine - instruct-pretrain report</title>" in seen.dom  # and not "owned"
    num_charts = page.read_text().count('<figure class="chart')
    assert num_charts >= 18
    assert seen.charts() == [True] * num_charts


def test_nothing_is_loaded_from_anywhere(page: Path, visit: Callable[..., Visit]) -> None:
    script = """
    setTimeout(() => {
      document.body.dataset.loaded =
        JSON.stringify(performance.getEntriesByType("resource").map(entry => entry.name));
    }, 1000)
    """
    seen = visit(with_script(page, script))
    loaded = re.search(r'data-loaded="([^"]*)"', seen.dom)
    assert loaded is not None
    # The policy, which this copy does not have, also stops what hostile texts would load.
    assert json.loads(html.unescape(loaded[1])) == []


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_window(
    page: Path, visit: Callable[..., Visit], width: int
) -> None:
    probe = """
    setTimeout(() => {
      const root = document.documentElement;
      const plots = [...document.querySelectorAll(".plot")];
      const sizes = {window: innerWidth, page: root.scrollWidth, plots: plots.length};
      sizes.cut = plots.filter(plot =>
        plot.querySelector(".main-svg").getBoundingClientRect().width > plot.clientWidth + 1
      ).length;
      parent.postMessage(JSON.stringify(sizes), "*");
    }, 3000)
    """
    inner = with_script(page, probe)
    # In a frame, as no browser window of its own is as narrow as a telephone.
    outer = page.with_name("outer.html")
    outer.write_text(
        "<!doctype html><script>onmessage = event => document.body.dataset.sizes = event.data"
        f'</script><body><iframe src="{inner.name}" width="{width}" height="2000"></iframe>'
    )
    seen = visit(outer, width=1600)
    found = re.search(r'data-sizes="([^"]*)"', seen.dom)
    assert found is not None, seen.errors
    sizes = json.loads(html.unescape(found[1]))
    assert sizes["window"] == width
    assert sizes["page"] <= width
    assert sizes["plots"] >= 18
    assert sizes["cut"] == 0


def test_a_broken_script_would_be_noticed(page: Path, visit: Callable[..., Visit]) -> None:
    broken = visit(with_script(page, "Plotly.noSuchFunction()"))
    assert any("noSuchFunction" in error for error in broken.errors)
    # A script that the page did not name is stopped by its policy, which is an error too.
    smuggled = page.with_name("smuggled.html")
    smuggled.write_text(
        page.read_text().replace("</body>", "<script>document.title='owned'</script></body>")
    )
    seen = visit(smuggled)
    assert "owned - " not in seen.dom
    assert "<title>mine" in seen.dom
    assert any("Content Security Policy" in error for error in seen.errors)


def test_a_chart_that_is_not_drawn_would_be_noticed(
    page: Path, visit: Callable[..., Visit]
) -> None:
    empty = page.with_name("empty.html")
    empty.write_text(page.read_text().replace('"data":[', '"data":[],"unused":[', 1))
    seen = visit(empty)
    assert seen.charts()[0] is False
    assert all(seen.charts()[1:])


def test_a_run_at_its_beginning_has_a_page(tmp_path: Path, visit: Callable[..., Visit]) -> None:
    folder = write_run(tmp_path / "run", [[Written("Some text.")]], until="ingest")
    target = tmp_path / "report.html"
    write_report(folder, str(target), None, 1000)
    seen = visit(target)
    assert seen.errors == []
    assert seen.charts() == [True]
    assert "Not there yet: the synth stage is not begun" in seen.dom
