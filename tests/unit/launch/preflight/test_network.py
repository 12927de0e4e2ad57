"""Ports that are taken, hosts that nobody knows, and tokens."""

import socket
from pathlib import Path

import pytest

from launch.preflight.findings import Finding, run_checks
from launch.preflight.network import network_checks
from tests.preflighted import subject_of
from tests.processes import free_port


def look(*overrides: str, **where: object) -> dict[str, Finding]:
    subject = subject_of("quickstart", "run.dir=/nowhere/run", *overrides, **where)
    return {each.check: each for each in run_checks(list(network_checks(subject)))}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_one_host_takes_any_port() -> None:
    assert look()["master port"].state == "ok"


def test_a_port_that_is_taken_is_a_problem() -> None:
    with socket.create_server(("", 0)) as holder:
        port = holder.getsockname()[1]
        found = look(num_nodes=2, master_port=port)["master port"]
        assert found.state == "problem"
        assert f"port {port} cannot be bound here: Address already in use" in found.found
        assert "--master_port" in found.remedy
    assert look(num_nodes=2, master_port=free_port())["master port"].state == "ok"


def test_the_port_of_another_host_is_not_tried_here() -> None:
    with socket.create_server(("", 0)) as holder:
        port = holder.getsockname()[1]
        away = look(num_nodes=2, master_port=port, master_addr="192.0.2.77")
        assert "is not this host" in away["master port"].found
        here = look(num_nodes=2, master_port=port, master_addr="localhost")
        assert here["master port"].state == "problem"


def test_hosts_of_a_hostfile(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("# two\nno-such-host.invalid slots=1\n\n127.0.0.1 slots=2\n")
    subject = subject_of("quickstart", "run.dir=/nowhere/run", hostfile=str(path))
    found = list(run_checks(list(network_checks(subject))))
    [unknown] = [each for each in found if each.check == "host no-such-host.invalid"]
    assert unknown.state == "warning", "ssh may know it by its own config, and is asked below"
    assert "has no address" in unknown.found
    [closed] = [each for each in found if each.check == "ssh"]
    assert closed.state == "problem"
    assert (subject.num_ranks, subject.ranks_of_a_host) == (3, 2)


def test_a_job_server_that_does_not_answer_is_a_problem() -> None:
    address = f"http://127.0.0.1:{free_port()}"
    found = look(address=address)["job server"]
    assert found.state == "problem"
    assert "Connection refused" in found.found


def test_tokens(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ray token" not in look()
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.77:6379")
    assert look()["ray token"].state == "warning"
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert look()["ray token"].state == "problem"
    token = home / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("x")
    token.chmod(0o644)
    assert "can be read by others" in look()["ray token"].found
    token.chmod(0o600)
    assert look()["ray token"].state == "ok"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "none"))
    assert look()["ray token"].state == "problem"
