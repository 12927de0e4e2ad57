"""Nodes that differ: by comparison, over a stand-in of ssh, and on a real Ray."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launch.preflight.asking import Node, ask_over_ray, ask_over_ssh, ssh_command
from launch.preflight.findings import Finding, run_checks
from launch.preflight.nodes import compare, gpu_findings, node_checks, shared_findings
from launch.preflight.versions import ABSENT, find_gpus, node_facts, versions
from tests.preflighted import subject_of

ROOT = Path(__file__).parents[4]
SSH = """#!/usr/bin/env bash
while [[ "$1" == -* ]]; do [ "$1" = -o ] && shift; shift; done
host="$1" command="$2"
case "$host" in
  closed) echo "ssh: connect to host closed port 22: Connection refused" >&2; exit 255 ;;
  bare) echo "env: python: No such file or directory" >&2; exit 127 ;;
  old) bash -c "$command" | sed 's/"torch": "[^"]*"/"torch": "2.0.0"/' ;;
  *) echo "Welcome to $host"; bash -c "$command" ;;
esac
"""


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "bin" / "ssh"
    script.parent.mkdir()
    script.write_text(SSH)
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def node(name: str, gpus: int = 0, sees: bool = True, **changed: str) -> Node:
    kinds = tuple(("H100", 81_559) for _ in range(gpus))
    return Node(name, {**versions(), **changed}, kinds, sees)


def test_this_node_says_what_it_has_with_the_standard_library_alone() -> None:
    check = (
        "import sys, runpy; runpy.run_module('launch.preflight.versions', run_name='__main__')\n"
        "sys.exit(str({'torch', 'ray', 'pydantic', 'typer'} & sys.modules.keys() or ''))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=ROOT)
    facts = json.loads(done.stdout)
    assert done.stderr.strip() == ""
    assert facts["versions"] == versions()
    assert facts["versions"]["torch"] != ABSENT
    assert len(facts["versions"]["our source"]) == 12
    assert node_facts(__file__)["sees_probe"] is True
    assert node_facts("/nowhere/file")["sees_probe"] is False


def test_the_source_s_hash_changes_with_the_source(tmp_path: Path) -> None:
    def hash_with(text: str) -> str:
        for package in ("pipeline", "synth", "train", "launch"):
            (tmp_path / package).mkdir(exist_ok=True)
            (tmp_path / package / "__init__.py").write_text(text)
        path = ROOT / "launch" / "preflight" / "versions.py"
        done = subprocess.run(
            [sys.executable, str(path)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
        )
        return json.loads(done.stdout)["versions"]["our source"]

    assert hash_with("a") == hash_with("a") != hash_with("b")


def test_alike_nodes_are_fine() -> None:
    [found] = compare([node("a"), node("b")], node("this host"))
    assert (found.state, "2 nodes with the same" in found.found) == ("ok", True)


def test_each_version_that_differs_is_named_with_its_nodes() -> None:
    nodes = [node("a"), node("b", torch="2.0.0", ray="2.1"), node("c", torch="2.0.0")]
    found = {each.found.split()[0]: each for each in compare(nodes, node("this host"))}
    assert set(found) == {"torch", "ray"}
    assert found["torch"].state == "problem"
    assert found["torch"].found.endswith("on this host and 2.0.0 on b, c")
    assert found["ray"].found.endswith("and 2.1 on b")
    assert "install the same torch on all nodes" in found["torch"].remedy


def test_a_missing_driver_is_a_warning_and_a_silent_node_a_problem() -> None:
    nodes = [node("a", **{"CUDA driver": "580.95"}), Node("b", failure="no answer")]
    found = list(compare(nodes, node("this host", **{"CUDA driver": ABSENT})))
    assert [(each.state, each.found.split(":")[0]) for each in found] == [
        ("problem", "b"),
        ("warning", "CUDA driver is absent on this host and 580.95 on a"),
    ]


def test_a_folder_that_is_not_shared_is_a_problem() -> None:
    [found] = shared_findings([node("a"), node("b", sees=False)], "/data/run")
    assert found.state == "problem"
    assert "run.dir (/data/run) is not seen on b" in found.found
    assert [each.state for each in shared_findings([node("a")], "/data/run")] == ["ok"]


@pytest.mark.parametrize(
    ("gpus", "precision", "state"),
    [
        (2, "bf16", "ok"),
        (0, "fp32", "ok"),
        (0, "bf16", "warning"),
        (8, "bf16", "warning"),
        (1, "bf16", "problem"),
    ],
)
def test_gpus_are_held_against_ranks(gpus: int, precision: str, state: str) -> None:
    subject = subject_of("quickstart", "run.dir=/nowhere/run", f"train.precision={precision}")
    [found] = gpu_findings([node("a", gpus)], subject)
    assert found.state == state


def test_hosts_are_asked_over_ssh(ssh: None, tmp_path: Path) -> None:
    probe = tmp_path / "a file"
    probe.touch()
    found = ask_over_ssh("like", str(probe))
    assert (found.failure, found.versions, found.sees_probe) == ("", versions(), True)
    assert ask_over_ssh("like", "").sees_probe is False
    assert ask_over_ssh("old", "").versions["torch"] == "2.0.0"
    closed = ask_over_ssh("closed", "").failure
    assert "Connection refused (exit code 255): ssh -o BatchMode=yes" in closed
    assert "No such file" in ask_over_ssh("bare", "").failure
    assert ssh_command("like", "a b")[:6] == [
        "ssh",
        "-o",
        "BatchMode=yes",
        "-o",
        *("ConnectTimeout=5", "--"),
    ]


def test_a_hostfile_with_one_node_of_another_version(ssh: None, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("like slots=2\nold slots=2\n")
    probe = tmp_path / "probe"
    probe.touch()
    subject = subject_of("quickstart", f"run.dir={tmp_path}/run", hostfile=str(tmp_path / "hosts"))
    found = list(run_checks(list(node_checks(subject, str(probe)))))
    problems = [each for each in found if each.state == "problem"]
    assert [each.found.partition(" is ")[0] for each in problems] == ["torch"]
    assert problems[0].found.endswith("and 2.0.0 on old")
    assert "all see what this host writes" in "".join(each.found for each in found)


def test_gpus_are_found_and_held_against_the_slots_of_their_host(ssh: None, tmp_path: Path) -> None:
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.write_text("#!/bin/sh\nprintf 'NVIDIA H100, 80GB HBM3, 81559\\n%.0s' 1 2\n")
    smi.chmod(0o755)
    assert find_gpus() == [("NVIDIA H100, 80GB HBM3", 81_559)] * 2
    (tmp_path / "hosts").write_text("like slots=2\nother slots=4\n")
    hostfile = str(tmp_path / "hosts")
    subject = subject_of("quickstart", "run.dir=/nowhere/run", hostfile=hostfile)
    found = [each for each in run_checks(list(node_checks(subject, ""))) if each.check == "GPUs"]
    assert [each.state for each in found] == ["ok", "ok", "problem"]
    assert "other has 2 x NVIDIA H100, 80GB HBM3, fewer than its slots (4)" in found[2].found


def test_nodes_that_nobody_names_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    subject = subject_of("quickstart", "run.dir=/nowhere/run", num_nodes=2)
    found: list[Finding] = list(run_checks(list(node_checks(subject, ""))))
    assert [each.state for each in found if each.check == "nodes"] == ["warning"]


@pytest.mark.ray
@pytest.mark.slow
def test_the_nodes_of_a_real_ray_are_asked(tmp_path: Path, monkeypatch) -> None:
    from pipeline.cluster import ray_session

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    probe = tmp_path / "probe"
    probe.touch()
    with ray_session():
        import ray

        address = ray.nodes()[0]["NodeManagerAddress"]
        [alike] = ask_over_ray(str(probe))
        [odd] = ask_over_ray("", pretend={address: {"vllm": "0.1"}})
    assert (alike.failure, alike.versions, alike.sees_probe) == ("", versions(), True)
    assert address in alike.name
    assert [each.state for each in compare([alike], node("this host"))] == ["ok"]
    [found] = compare([odd], node("this host"))
    assert found.state == "problem"
    assert found.found.startswith("vllm is ")
    assert found.found.endswith(f"0.1 on {odd.name}")
    assert odd.sees_probe is False
