"""`ipt preflight` as a command: exit codes, JSON, complete stages, nothing left behind."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch.cli import app
from pipeline.ingest.job import run_ingest
from tests.preflighted import subject_of

runner = CliRunner()


@pytest.fixture(autouse=True)
def without_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)


def preflight(*arguments: str) -> tuple[int, dict]:
    done = runner.invoke(app, ["preflight", *arguments, "--json"])
    return done.exit_code, json.loads(done.output)


def test_the_quickstart_is_all_ok_and_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = runner.invoke(app, ["preflight", "quickstart"])
    assert done.exit_code == 0, done.output
    assert "preflight: 0 problems, 0 warnings, " in done.output
    assert "[problem]" not in done.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("preset", ["scratch-500m", "scratch-1.3b", "continual-8b"])
def test_presets_for_a_cluster_say_what_is_missing_here(preset: str, tmp_path: Path) -> None:
    code, report = preflight(preset, f"run.dir={tmp_path}/run")
    assert code == 2
    words = {each["check"]: each["found"] for each in report["findings"]}
    assert "HF_HUB_OFFLINE is set" in words["synthesizer"]
    assert "needs by ZeRO stage 0: " in words["memory"]
    assert all(each["remedy"] for each in report["findings"] if each["state"] != "ok")
    assert not any("Error" in each["found"] for each in report["findings"]), report
    assert not list(tmp_path.iterdir())


def test_a_problem_ends_with_2_and_says_what_to_do(tmp_path: Path) -> None:
    setting = f'ingest.sources.sotu.inputs=["{tmp_path}/none.jsonl"]'
    done = runner.invoke(app, ["preflight", "quickstart", f"run.dir={tmp_path}/run", setting])
    assert done.exit_code == 2
    assert "[problem] corpus sotu" in done.output
    assert "-> correct the paths in ingest.sources.sotu.inputs" in done.output
    assert "preflight: 1 problem, 0 warnings" in done.output


def test_complete_stages_are_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"text": "a text"}\n')
    settings = [
        f"run.dir={tmp_path}/run",
        f'ingest.sources.sotu.inputs=["{tmp_path}/corpus.jsonl"]',
    ]
    subject = subject_of("quickstart", *settings)
    run_ingest(subject.config.ingest, subject.config.folder.documents)
    (tmp_path / "corpus.jsonl").unlink()
    code, report = preflight("quickstart", *settings)
    checks = {each["check"]: each for each in report["findings"]}
    assert checks["stages"]["found"] == "complete, and so not looked at: ingest"
    assert "corpus sotu" not in checks
    assert "synthesizer" in checks
    assert code == 0, report


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quickstrat"], "no such preset"),
        (["quickstart", "train.num_step=3"], "did you mean 'num_steps'"),
        (["quickstart", "--hostfile", "none"], "--hostfile none: no such file"),
        (["quickstart", "--hostfile", "none", "--num_nodes", "2"], "give one of them"),
    ],
)
def test_bad_input_is_said_at_once(arguments: list[str], message: str) -> None:
    done = runner.invoke(app, ["preflight", *arguments])
    assert done.exit_code == 2
    assert message in done.output


def test_a_dry_run_looks_at_nothing(tmp_path: Path) -> None:
    done = runner.invoke(app, ["preflight", "quickstart", f"run.dir={tmp_path}/run", "--dry-run"])
    assert done.exit_code == 0
    assert "would look at what ingest, synth, filter, pack, train, export, eval" in done.output
    assert "[ok]" not in done.output
