"""`ipt eval --model`: one table and one page over several models."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch.cli import app
from launch.comparison import table_lines
from tests.exported_run import write_exported_run
from tests.tiny_model import save_tiny_model
from train.scores import Metric, TaskScore

runner = CliRunner()


def score(value: float, name: str = "acc", stderr: float | None = 0.01) -> TaskScore:
    metrics = {name: Metric(value=value, stderr=stderr)}
    return TaskScore(metrics=metrics, num_examples=10, num_fewshot=0)


def shown(*arguments: str, exit_code: int = 0) -> str:
    done = runner.invoke(app, ["eval", "quickstart", *arguments])
    assert done.exit_code == exit_code, done.output
    return done.output


def test_rows_are_models_and_columns_tasks() -> None:
    models = {
        "runs/a/hf": {"boolq": score(0.5), "piqa": score(0.25, "acc_norm", None)},
        "runs/longer/hf": {"boolq": score(0.75), "piqa": score(0.5, "acc_norm")},
    }
    assert list(table_lines(models)) == [
        "model                  boolq          piqa   mean",
        "                         acc      acc_norm",
        "runs/a/hf       0.500 ±0.010         0.250  0.375",
        "runs/longer/hf  0.750 ±0.010  0.500 ±0.010  0.625",
    ]


def test_measures_of_different_kinds_have_no_mean() -> None:
    lines = list(table_lines({"a": {"boolq": score(0.5), "wikitext": score(20, "perplexity")}}))
    assert "mean" not in lines[0]
    assert "mean" not in "".join(table_lines({"a": {"boolq": score(0.5)}}))


def test_models_become_a_table_and_a_page(tmp_path: Path) -> None:
    first, second = (str(save_tiny_model(tmp_path / name / "hf")) for name in ("one", "two"))
    arguments = [f"run.dir={tmp_path}", 'eval.tasks=["everyday"]', "eval.limit=8"]
    arguments += ["--model", first, "--model", second, "--model", first]
    would = shown(*arguments, "--dry-run")
    assert f"would score {first}, {second} on everyday" in would
    assert not (tmp_path / "eval").exists()
    output = shown(*arguments)
    rows = [line for line in output.splitlines() if line.startswith(str(tmp_path))]
    assert [row.split()[0] for row in rows] == [first, second]
    models = json.loads((tmp_path / "eval" / "comparison.json").read_text())["models"]
    value = models[first]["everyday"]["metrics"]["acc_norm"]["value"]
    assert rows[0].split()[1] == f"{value:.3f}"
    page = (tmp_path / "eval" / "comparison.html").read_text().replace("\\u002f", "/")
    for text in ("everyday: acc_norm", '"one/hf"', '"two/hf"', f'"{first}"'):
        assert text in page, text


def test_the_stage_shows_its_scores(tmp_path: Path) -> None:
    folder = write_exported_run(tmp_path)
    arguments = [f"run.dir={tmp_path}", 'eval.tasks=["everyday"]', "eval.limit=8"]
    output = shown(*arguments)
    assert "complete: 0 held-out rows, 1 tasks" in output
    score = json.loads(Path(folder.report).read_text())["tasks"]["everyday"]
    value = score["metrics"]["acc_norm"]["value"]
    assert re.search(rf"^{re.escape(folder.hf)} +{value:.3f} ", output, re.MULTILINE)
    # The exported model's scores are the same wherever they are asked for.
    assert f"eval    {folder.hf}: 1 tasks" in shown(*arguments, "--model", folder.hf)
    assert len(list(Path(folder.scores).iterdir())) == 1


def test_a_run_refuses_an_unknown_task_before_its_first_stage(tmp_path: Path) -> None:
    arguments = [f"run.dir={tmp_path}", 'eval.tasks=["evryday"]']
    done = runner.invoke(app, ["run", "quickstart", *arguments])
    assert done.exit_code == 2
    assert "did you mean 'everyday'?" in done.output
    assert not (tmp_path / "documents").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--model compares models on eval.tasks, which is empty"),
        (['eval.tasks=["everyday"]'], "no such folder"),
        (['eval.tasks=["everyday"]', "run.dir=memory://run"], "needs a file system"),
    ],
)
def test_what_cannot_be_compared_is_said(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    output = shown(f"run.dir={tmp_path}", *arguments, "--model", "/nowhere/hf", exit_code=2)
    assert message in output
