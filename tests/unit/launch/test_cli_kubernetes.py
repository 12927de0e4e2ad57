"""`ipt k8s render` on the command line."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch.cli import app

runner = CliRunner()


def invoke(*arguments: str):
    return runner.invoke(app, ["k8s", "render", *arguments])


def words(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_it_says_what_it_wrote_and_what_is_next(tmp_path: Path) -> None:
    folder = str(tmp_path / "deploy")
    done = invoke("quickstart", "run.dir=/mnt/runs/a", "--overlay", "dev", "-o", folder)
    assert done.exit_code == 0, done.output
    assert f"k8s wrote {folder}: dev, image instruct-pretrain:" in words(done.output)
    assert "train jobset: 1 pod, each 2 ranks on 2 cores" in words(done.output)
    assert f"next kubectl apply -k {folder} # runs nothing yet" in words(done.output)
    stages = [f"{folder}/{stage}" for stage in ("ingest", "synth", "filter", "pack", "train")]
    assert ", ".join(stages) in words(done.output)
    assert all((Path(stage) / "kustomization.yaml").is_file() for stage in stages)


def test_a_dry_run_checks_and_writes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "deploy"
    done = invoke("quickstart", "run.dir=/mnt/runs/a", "-o", str(folder), "--dry-run")
    assert done.exit_code == 0, done.output
    assert "would write" in done.output
    assert "1 to 4 workers, each 1 GPU" in words(done.output)
    assert not folder.exists()
    assert invoke("quickstart", "-o", str(folder), "--dry-run").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quickstart"], "run.dir (runs/quickstart) must lie below /mnt/runs"),
        (["quickstart", "--overlay", "prod"], "choose dev, gpu, spot"),
        (["quickstart", "run.dirr=/mnt/runs/a"], "did you mean 'dir'?"),
        (["smollm2-135m"], "that of a synthesizer's tuning"),
        (["quickstrat"], "no such preset"),
    ],
)
def test_mistakes_get_one_message_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    done = invoke(*arguments, "-o", str(tmp_path / "deploy"))
    assert done.exit_code == 2
    assert message in words(done.output)
    assert not (tmp_path / "deploy").exists()


def test_help_shows_an_example() -> None:
    shown = words(runner.invoke(app, ["k8s", "render", "--help"]).output)
    assert "Example: ipt k8s render" in shown
    assert "--dry-run" in shown
