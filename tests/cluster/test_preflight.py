"""Preflight on real hosts: one with another version, one nobody knows, a folder that is not shared.

The other version is real, too: on that host alone, a file that says which torch is installed lies
over the true one.
"""

import json
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from tests.cluster.hosts import Host, can_have_hosts, hosts_on_a_network, serve_ssh
from tests.cluster.ray_cluster import RayCluster
from tests.integration.conftest import write_config, write_corpus

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    if reason := can_have_hosts():
        pytest.skip(reason)
    with hosts_on_a_network(3, PYTHONPATH=str(ROOT), HF_HUB_OFFLINE="1") as found:
        yield found


@pytest.fixture
def config(tmp_path: Path, tokenizer_folder: Path) -> Path:
    write_corpus(tmp_path / "corpus.jsonl")
    return write_config(tmp_path, "run", tokenizer_folder)


def pretend_older_torch(host: Host, folder: Path) -> None:
    """Lay a METADATA of torch 2.0.0 over the one that all hosts read."""
    [true] = [path for path in metadata.files("torch") or [] if path.name == "METADATA"]
    older = folder / "METADATA"
    text = Path(str(true.locate())).read_text()
    older.write_text(re.sub(r"^Version: .*$", "Version: 2.0.0", text, count=1, flags=re.M))
    host.run("mount", "--bind", str(older), str(true.locate()))


def preflight(host: Host, *arguments: str) -> tuple[int, dict[str, list[str]]]:
    """The exit code, and what was found, by state."""
    done = host.run("ipt", "preflight", *arguments, "--json", check=False)
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    found: dict[str, list[str]] = {"ok": [], "warning": [], "problem": []}
    for each in json.loads(done.stdout)["findings"]:
        found[each["state"]].append(f"{each['check']}: {each['found']}")
    return done.returncode, found


def test_hosts_of_a_hostfile_are_asked_over_ssh(
    hosts: list[Host], config: Path, tmp_path: Path
) -> None:
    if reason := can_have_hosts(with_ssh=True):
        pytest.skip(reason)
    serve_ssh(hosts)
    hostfile = tmp_path / "hosts"
    hostfile.write_text("host-0 slots=2\nhost-1 slots=2\nhost-2 slots=2\n")
    arguments = [str(config), "train.rows_per_batch=12", "--hostfile", str(hostfile)]
    code, found = preflight(hosts[0], *arguments)
    assert (code, found["problem"]) == (0, []), found
    assert any("nodes: 3 nodes with the same python" in line for line in found["ok"])
    assert any("nodes: all see what this host writes" in line for line in found["ok"])

    pretend_older_torch(hosts[1], tmp_path)
    code, found = preflight(hosts[0], *arguments)
    [skew] = found["problem"]
    assert (code, skew.startswith("nodes: torch is ")) == (2, True)
    assert skew.endswith("on this host and 2.0.0 on host-1")

    hosts[2].cut()
    code, found = preflight(hosts[0], *arguments, "run.dir=/tmp/ray/run")
    words = "\n".join(found["problem"])
    assert "1 of 3 hosts cannot be reached (host-2)" in words
    assert any("host-2: does not answer on port 22" in line for line in found["warning"])
    assert "what this host writes to run.dir (/tmp/ray/run) is not seen on host-1" in words


@pytest.mark.ray
def test_nodes_of_a_cluster_are_asked_by_a_job_and_by_tasks(
    hosts: list[Host], config: Path, tmp_path: Path
) -> None:
    cluster = RayCluster(hosts, tmp_path)
    cluster.start()
    pretend_older_torch(hosts[2], tmp_path)
    for arguments in ([str(config), "--address", cluster.address], [str(config)]):
        code, found = preflight(cluster.head, *arguments)
        assert code == 2
        [skew] = found["problem"]
        assert skew.startswith("nodes: torch is ")
        assert skew.endswith(f"2.0.0 on host-2 ({hosts[2].address})")
        assert any("nodes: all see what this host writes" in line for line in found["ok"]), found
    assert any("cluster: room for 2 workers of synthesis" in line for line in found["ok"]), found
