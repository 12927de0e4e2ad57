"""Synthesis as a job of a Ray cluster, through its job server."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.synthesis import audit
from tests.integration.conftest import IPT, run_ipt, write_config, write_corpus
from tests.processes import free_port, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.slow]
RAY = str(Path(sys.executable).with_name("ray"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """A cluster with token authentication, and the environment variables that lead to it."""
    folder = Path(tempfile.mkdtemp(prefix="ipt-ray-"))  # short: Ray's socket names go below it
    ports = {name: free_port() for name in ("gcs", "dashboard", "metrics", "agent")}
    bin_folder = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
    }
    (folder / "token").write_text("a-secret-of-this-test-0123456789abcdef")
    subprocess.run(
        [
            *(RAY, "start", "--head", "--num-cpus=2", f"--port={ports['gcs']}"),
            *(f"--dashboard-port={ports['dashboard']}", "--include-dashboard=true"),
            *(f"--metrics-export-port={ports['metrics']}", "--disable-usage-stats"),
            *(f"--dashboard-agent-listen-port={ports['agent']}", f"--temp-dir={folder / 'ray'}"),
        ],
        env=environment,
        check=True,
        capture_output=True,
    )
    yield {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{ports['dashboard']}",
        "METRICS": f"http://127.0.0.1:{ports['metrics']}/metrics",
    }
    subprocess.run([RAY, "stop", "--force"], env=environment, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def project(
    tmp_path: Path,
    tokenizer_folder: Path,
    cluster: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A working directory with `run.toml`, its documents ingested; commands run in it."""
    folder = tmp_path / "project"
    folder.mkdir()
    write_corpus(tmp_path / "corpus.jsonl", 400)
    config = write_config(tmp_path, "run", tokenizer_folder)
    config.rename(folder / "run.toml")
    monkeypatch.chdir(folder)
    run_ipt("ingest", "run.toml")
    for name, value in cluster.items():
        monkeypatch.setenv(name, value)
    return folder


def test_a_submitted_job_is_followed_and_its_exit_code_passed_on(
    project: Path, tmp_path: Path
) -> None:
    """A job that is stopped by SIGTERM in the middle, then submitted again; then one that fails."""
    run = tmp_path / "run"
    process = subprocess.Popen(
        [*IPT, "submit", "synth", "run.toml"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    job = process.stdout.readline().split()[1].rstrip(":")
    assert wait_for(lambda: list(run.glob("augmented/made-up/part-*.json")), within_s=120)
    assert "parts committed" in run_ipt("status", str(run)).stdout
    assert wait_for(lambda: "ipt_synth_parts_done" in scrape(), within_s=60)
    subprocess.run(["pkill", "-TERM", "-f", "bin/ipt synth run.toml"], check=True)
    output = process.stdout.read()
    assert process.wait() == 75, output
    assert "synthesis stopped by SIGTERM" in output
    assert job.startswith("raysubmit_")
    done = run_ipt("submit", "synth", "run.toml", "synth.engine.fake.delay_s=0")
    assert "synth   complete: " in done.stdout
    assert audit(run).lost == audit(run).duplicated == 0
    done = run_ipt("submit", "synth", "run.toml", "synth.temperature=0.5", check=False)
    assert done.returncode == 2
    assert "config.temperature: the folder has 0.0, this run wants 0.5" in done.stdout
    secret = Path(os.environ["RAY_AUTH_TOKEN_PATH"]).read_text()
    assert secret not in json.dumps(done.stdout + output)


def scrape() -> str:
    with urllib.request.urlopen(os.environ["METRICS"], timeout=30) as reply:
        return str(reply.read().decode())


def test_rays_own_submit_runs_the_same_command(project: Path, tmp_path: Path) -> None:
    command = [RAY, "job", "submit", "--working-dir", ".", "--", "ipt", "synth", "run.toml"]
    done = subprocess.run(
        [*command, "synth.engine.fake.delay_s=0"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "synth   complete: " in done.stdout
    assert audit(tmp_path / "run").lost == 0
    relative = subprocess.run(
        [*command, "run.dir=runs/here"], capture_output=True, text=True, timeout=300
    )
    assert relative.returncode != 0
    assert "give an absolute path that all nodes share" in relative.stdout
