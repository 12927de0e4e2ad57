"""What the report says of a run's training, from the lines that training writes."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from launch.report.charts import Chart
from launch.report.figures import gather_run
from launch.report.page import render_page
from launch.report.sections import Section
from launch.report.training import Anomaly, gather_training
from launch.report.training_section import training_section
from pipeline.contracts import Pair
from pipeline.run_folder import RunFolder
from tests.report_runs import SOURCE, Written, write_run

RAW, AUGMENTED = f"{SOURCE}-raw", f"{SOURCE}-augmented"
PARTS = [[Written("Anna ruled the land.", (Pair("Who ruled?", "Anna"),))]]


def write_metrics(folder: RunFolder, num_steps: int, changes: dict[int, dict[str, Any]]) -> None:
    """Steps, and lines of their own for what evaluations add to them."""
    lines = []
    for step in range(1, num_steps + 1):
        line = {"step": step, "loss": 4.0 - step / num_steps, "perf/mfu": 0.4, "grad_norm": 1.0}
        line["perf/tokens_per_s"] = 1000.0
        line |= {f"loss/{RAW}": 5.0, f"loss/{AUGMENTED}": 3.0}
        added = {
            key: value
            for key, value in changes.get(step, {}).items()
            if key.startswith("heldout/") or key == "sample"
        }
        lines.append(line | {k: v for k, v in changes.get(step, {}).items() if k not in added})
        lines += [{"step": step, **added}] if added else []
    Path(folder.metrics).write_text("".join(json.dumps(line) + "\n" for line in lines))


def evaluation(loss: float) -> dict[str, Any]:
    return {
        f"heldout/{RAW}/loss": loss,
        f"heldout/{RAW}/perplexity": math.exp(loss),
        "heldout/kind/multiple_choice/loss": loss - 1,
        "sample": {"prompt": "The", "completion": f" end at {loss}"},
    }


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return write_run(tmp_path / "run", PARTS, until="train")


def section_of(folder: RunFolder) -> Section:
    return training_section(gather_run(folder, 100), None)


def chart_of(folder: RunFolder, identity: str) -> Chart:
    return next(chart for chart in section_of(folder).charts if chart.id == identity)


def test_evaluations_keep_their_own_steps_however_many_steps_are_one_point(
    folder: RunFolder,
) -> None:
    write_metrics(folder, 1000, {301: evaluation(3.5), 602: evaluation(math.nan)})
    training = gather_training(folder)
    assert (training.num_steps, training.steps_per_point) == (1000, 3)
    assert training.evaluations.steps == [301, 602]
    assert list(training.evaluations.by_source) == [RAW]
    assert training.evaluations.by_source[RAW][0] == 3.5
    assert training.evaluations.by_kind["multiple_choice"][0] == 2.5


def test_held_out_losses_stand_beside_the_training_losses(folder: RunFolder) -> None:
    write_metrics(folder, 4, {2: evaluation(3.5), 4: evaluation(math.nan)})
    held_out, trained = chart_of(folder, "heldout-steps").spec["data"]
    assert (held_out["name"], trained["name"]) == (f"{RAW}, held out", f"{RAW}, trained on")
    assert (held_out["x"], held_out["y"]) == ([2, 4], [3.5, None])
    assert (trained["x"], trained["y"]) == ([1, 2, 3, 4], [5.0] * 4)
    assert held_out["line"]["color"] == trained["line"]["color"]
    assert (held_out["line"]["dash"], trained["line"]["dash"]) == ("solid", "dash")
    (kind,) = chart_of(folder, "heldout-kinds").spec["data"]
    assert (kind["name"], kind["y"]) == ("multiple choice", [2.5, None])


def test_anomalies_are_marked_on_the_loss_and_counted(folder: RunFolder) -> None:
    skipped = "skipped: loss not finite"
    write_metrics(
        folder,
        4,
        {
            1: {"loss": math.inf, "anomaly": skipped},
            3: {"loss": math.nan, "anomaly": skipped},
            4: {"anomaly": "skipped: <b>spike</b>"},
        },
    )
    training = gather_training(folder)
    assert training.anomalies[1] == Anomaly(3, skipped)
    section = section_of(folder)
    assert section.intro.endswith(
        f"3 steps were anomalies: {skipped} (2), skipped: <b>spike</b> (1)."
    )
    crosses = chart_of(folder, "loss").spec["data"][-1]
    # Step 1 has no loss, nor has any step before it; step 3 is marked where step 2 was.
    assert crosses["name"] == "anomalies"
    assert (crosses["x"], crosses["y"]) == ([3, 4], [3.5, 3.0])
    assert crosses["hovertext"][1] == "skipped: &lt;b&gt;spike&lt;/b&gt;"
    assert "&lt;b&gt;spike" in render_page(gather_run(folder, 100))


def test_utilisation_is_shown_where_it_is_known(folder: RunFolder) -> None:
    assert "perf-mfu" not in [chart.id for chart in section_of(folder).charts]
    write_metrics(folder, 2, {})
    assert chart_of(folder, "perf-mfu").spec["data"][0]["y"] == [0.4, 0.4]


def test_the_last_sample_of_training_is_shown_until_there_is_one_of_the_end(
    tmp_path: Path, folder: RunFolder
) -> None:
    write_metrics(folder, 4, {2: evaluation(3.5), 4: evaluation(3.25)})
    assert section_of(folder).sample == {"prompt": "The", "completion": " end at 3.25"}
    evaluated = write_run(tmp_path / "other", PARTS)
    write_metrics(evaluated, 4, {2: evaluation(3.5)})
    sample = section_of(evaluated).sample
    assert sample is not None
    assert sample["prompt"] == "The people"
