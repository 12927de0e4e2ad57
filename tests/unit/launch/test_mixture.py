"""`ipt mixture`: the table a user reads before training."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch.cli import app
from tests.packed import random_rows, write_packed

runner = CliRunner()


@pytest.fixture
def run(tmp_path: Path) -> list[str]:
    """Arguments of a run whose rows are packed: 400 raw and 40 augmented rows of 512 tokens."""
    parts = {
        "sotu-raw": [random_rows(200, 512, seed) for seed in (1, 2)],
        "sotu-augmented": [random_rows(40, 512, 3)],
    }
    write_packed(tmp_path / "rows", parts, 16)
    return ["quickstart", f"run.dir={tmp_path}", "train.num_steps=100", "train.rows_per_batch=8"]


def shown(*arguments: str, exit_code: int = 0) -> str:
    done = runner.invoke(app, ["mixture", *arguments])
    assert done.exit_code == exit_code, done.output
    return done.output


def row_of(output: str, source: str) -> list[str]:
    return next(re.split(r"\s+", line) for line in output.splitlines() if line.startswith(source))


def test_tokens_share_and_epochs_of_each_source(run: list[str]) -> None:
    output = shown(*run)
    assert "mixture: explicit (sotu-raw 0.8, sotu-augmented 0.2)" in output
    assert "run: 800 rows of 512, 409,600 tokens" in output
    _, packed, tokens, share, epochs, bars = row_of(output, "sotu-augmented")
    assert (packed, share) == ("20,480", "20.00%")
    assert tokens == "81,920"
    assert epochs == "4.00"
    assert len(bars) == 32
    assert "warning" not in output


def test_over_repetition_is_warned_of(run: list[str]) -> None:
    output = shown(*run, "mixture.weights={sotu-raw=1, sotu-augmented=1}")
    assert "warning: sotu-augmented: 10.0 epochs; repeated" in output
    output = shown(*run, "mixture.weights={sotu-raw=1}")
    assert "warning: packed but not in the mixture: sotu-augmented" in output


def test_phases_have_tables_of_their_own(run: list[str]) -> None:
    phases = (
        'mixture.phases=[{until=0.5, weights={"sotu-raw"=1}}, '
        '{until=1, ramp=true, weights={"sotu-augmented"=1}}]'
    )
    output = shown(*run, "mixture.weights={}", phases)
    assert "phase 1: 0.0% to 50.0% of the run, rows 0 to 400" in output
    assert "phase 2: 50.0% to 100.0% of the run, rows 400 to 800" in output
    assert row_of(output.partition("phase 2")[2], "sotu-augmented")[2:5] == [
        "102,400",
        "50.00%",
        "5.00",
    ]
    bars = row_of(output.partition("whole run")[2], "sotu-raw")[5]
    assert bars[0] == "█"
    assert bars[-1] < bars[20] < bars[0]


def test_the_page_plots_every_source(run: list[str], tmp_path: Path) -> None:
    page = tmp_path / "mixture.html"
    assert f"page: {page}" in shown(*run, "--output", str(page))
    assert "sotu-augmented" in page.read_text()
    assert "training progress" in page.read_text()


def test_many_sources_are_cut_short(tmp_path: Path) -> None:
    parts = {f"s{number:03d}-raw": [random_rows(1, 512, number)] for number in range(40)}
    write_packed(tmp_path / "rows", parts, 16)
    sources = "{" + ", ".join(f's{n:03d}={{inputs=["x"]}}' for n in range(40)) + "}"
    arguments = ["quickstart", f"run.dir={tmp_path}", "mixture.weights={}"]
    output = shown(*arguments, f"ingest.sources={sources}")
    assert "... and 10 smaller sources (--all shows them)" in output
    assert "smaller sources" not in shown(*arguments, f"ingest.sources={sources}", "--all")


def test_without_rows_it_says_what_to_do(tmp_path: Path) -> None:
    assert "packing is not complete" in shown("quickstart", f"run.dir={tmp_path}", exit_code=2)
