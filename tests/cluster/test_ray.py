"""Synthesis through the job server of a three-node Ray cluster, of which a node is cut off."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.hosts import Host, can_have_hosts, hosts_on_a_network
from tests.cluster.ray_cluster import RayCluster
from tests.faults.synthesis import audit
from tests.integration.conftest import run_ipt, write_config, write_corpus
from tests.processes import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.ray, pytest.mark.slow]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RayCluster]:
    if reason := can_have_hosts():
        pytest.skip(reason)
    with hosts_on_a_network(3) as hosts:
        found = RayCluster(hosts, tmp_path)
        found.start()
        yield found


@pytest.fixture
def project(tmp_path: Path, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a run on made-up texts, its documents ingested."""
    folder = tmp_path / "project"
    folder.mkdir()
    write_corpus(tmp_path / "corpus.jsonl", 600)
    write_config(tmp_path, "run", tokenizer_folder).rename(folder / "run.toml")
    monkeypatch.chdir(folder)
    run_ipt("ingest", "run.toml")
    return folder


def committed(run: Path) -> int:
    return len(list(run.glob("augmented/made-up/part-*.json")))


def test_a_node_cut_off_in_the_middle_costs_its_parts_in_flight(
    cluster: RayCluster, project: Path, tmp_path: Path
) -> None:
    run, log = tmp_path / "run", tmp_path / "submit.log"
    job = cluster.head.start("ipt", "submit", "synth", "run.toml", log=log)
    assert wait_for(lambda: committed(run) >= 4, 120), log.read_text()
    lost: Host = cluster.hosts[2]
    lost.cut()
    shown = cluster.head.run("ipt", "submit", "status").stdout
    assert "RUNNING" in shown
    assert str(run) in shown
    # Submitted again while it runs, the job is followed, not doubled.
    second = cluster.head.start("ipt", "submit", "synth", "run.toml", log=tmp_path / "second.log")
    assert job.wait(timeout=300) == 0, log.read_text()
    assert second.wait(timeout=30) == 0
    assert "does this already" in (tmp_path / "second.log").read_text()
    result = audit(run)
    assert (result.lost, result.duplicated, result.quarantined) == (0, 0, 0)
    assert result.documents > 200

    lost.join()
    done = cluster.head.run("ipt", "submit", "pack", "run.toml", check=False)
    assert done.returncode == 2, "packing reads filtered pairs"
    cluster.head.run("ipt", "submit", "filter", "run.toml")
    assert "pack    complete: " in cluster.head.run("ipt", "submit", "pack", "run.toml").stdout


def test_a_job_is_stopped_in_order_and_goes_on_when_submitted_again(
    cluster: RayCluster, project: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    slow = "synth.engine.fake.delay_s=0.6"
    submitted = cluster.head.run("ipt", "submit", "synth", "run.toml", slow, "--no-wait")
    job = submitted.stdout.split()[1].rstrip(":")
    assert wait_for(lambda: committed(run) >= 2, 120)
    stopped = cluster.head.run("ipt", "submit", "stop", job)
    assert "STOPPED" in stopped.stdout
    log = cluster.head.run("ipt", "submit", "status", job).stdout
    assert "synthesis stopped by SIGTERM" in log, "it had the time to end in order"
    before = committed(run)
    assert 0 < before < 75
    unknown = cluster.head.run("ipt", "submit", "stop", "raysubmit_none", check=False)
    assert unknown.returncode == 2
    done = cluster.head.run("ipt", "submit", "synth", "run.toml", "synth.engine.fake.delay_s=0")
    assert "synth   complete: " in done.stdout
    assert (audit(run).lost, audit(run).duplicated) == (0, 0)
