"""Ports, hosts, the Ray job server and the token that it wants."""

import os
import socket
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from launch.over_ssh import OverSsh
from launch.placement import DEFAULT_PORT
from launch.preflight.findings import Check, Finding, counted, ok, problem, warning
from launch.preflight.subject import Subject

JOB_SERVER = "job server"
"""Name of the check that the cluster behind a job server waits for."""
_SSH_PORT, _DASHBOARD_PORT = 22, 8265
_TIMEOUT_S, _SSH_LIMIT_S = 3.0, 60.0
_TOKEN_FILE = "~/.ray/auth_token"


def network_checks(subject: Subject) -> Iterator[Check]:
    """The checks of whatever the run is to listen on or to connect to."""
    where = subject.where
    if "train" in subject.pending:
        yield Check("master port", lambda: [_master(subject)])
        for host in where.hosts:
            yield Check(f"host {host}", partial(_host, host))
        if where.over_ssh is not None:
            yield Check("ssh", partial(_ssh, where.over_ssh), _SSH_LIMIT_S)
    if where.address:
        yield Check(JOB_SERVER, lambda: _job_server(where.address))
    elif {"synth", "pack"} & set(subject.pending):
        yield Check("ray", lambda: [_ray()])
    if where.address or os.environ.get("RAY_ADDRESS") or os.environ.get("RAY_AUTH_MODE"):
        yield Check("ray token", lambda: [_token()])


def _master(subject: Subject) -> Finding:
    where = subject.where
    if where.nodes_of_training == 1 and not where.master_port:
        return ok("master port", "training on one host takes a free one")
    port = where.master_port or DEFAULT_PORT
    first = where.master_addr or next(iter(where.hosts), "")
    if first and not _is_here(first.rpartition("@")[2]):
        return ok("master port", f"{port} is bound on {first}, which is not this host")
    try:
        with socket.socket() as probe:
            # As the store of torch binds it, which a connection that is closing does not keep out.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", port))
    except OSError as error:
        return problem(
            "master port",
            f"port {port} cannot be bound here: {error.strerror}",
            "give another --master_port, or end the process that holds it (`ss -ltnp`)",
        )
    return ok("master port", f"{port} is free here")


def _is_here(name: str) -> bool:
    """Whether a host name is one of this machine's; unknown names are another check's matter."""
    try:
        address = socket.getaddrinfo(name, None, proto=socket.IPPROTO_TCP)[0][4][0]
        with socket.socket(socket.AF_INET6 if ":" in str(address) else socket.AF_INET) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def _host(host: str) -> Iterator[Finding]:
    check = f"host {host}"
    try:
        with socket.create_connection((host.rpartition("@")[2], _SSH_PORT), timeout=_TIMEOUT_S):
            yield ok(check, "has an address and answers on port 22 (ssh)")
    except socket.gaierror as error:
        remedy = "look at the hostfile, unless it is a name or port of this user's ssh config"
        yield warning(check, f"has no address: {error.strerror}", remedy)
    except OSError as error:
        remedy = "look at its ssh server, unless this user's ssh config has another port or host"
        yield warning(check, f"does not answer on port 22: {error.strerror or error}", remedy)


def _ssh(hosts: OverSsh) -> Iterator[Finding]:
    hosts.check([])
    yield ok("ssh", f"pdsh is here, and {counted(len(hosts.hosts), 'host')} let this user in")


def _job_server(address: str) -> Iterator[Finding]:
    from launch.ray_jobs import connect

    parts = urlsplit(address)
    host, port = parts.hostname or "", parts.port or _DASHBOARD_PORT
    try:
        with socket.create_connection((host, port), timeout=_TIMEOUT_S):
            pass
    except OSError as error:
        yield problem(
            JOB_SERVER,
            f"--address {address}: {host} does not answer on port {port}: "
            f"{error.strerror or error}",
            "start Ray there (`ray start --head`), or give the address of its dashboard, such as "
            "http://head:8265",
        )
        return
    version = connect(address).get_version()
    yield ok(JOB_SERVER, f"{address} answers (protocol {version})")


def _ray() -> Finding:
    address = os.environ.get("RAY_ADDRESS", "")
    if not address:
        try:
            with socket.create_server(("", 0)):
                return ok("ray", "RAY_ADDRESS is not set: Ray starts on this host, on free ports")
        except OSError as error:
            remedy = "look at the limits of this host (ip_local_port_range, open files)"
            return problem("ray", f"no port can be opened here: {error.strerror}", remedy)
    return ok("ray", f"RAY_ADDRESS is {address}; its nodes are looked at below")


def _token() -> Finding:
    if os.environ.get("RAY_AUTH_TOKEN"):
        return ok("ray token", "RAY_AUTH_TOKEN is set")
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or _TOKEN_FILE).expanduser()
    if path.is_file():
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            found = f"{path} can be read by others, who could then run anything on the cluster"
            return warning("ray token", found, f"chmod 600 {path}")
        return ok("ray token", f"{path} is there, for this user alone")
    if os.environ.get("RAY_AUTH_MODE") == "token":
        return problem(
            "ray token",
            f"RAY_AUTH_MODE is token, and {path} is not there",
            "copy the file from the head of the cluster, or set RAY_AUTH_TOKEN_PATH to it",
        )
    return warning(
        "ray token",
        f"there is no {path}: whoever reaches the cluster's ports can run anything on it",
        "`ray get-auth-token --generate`, and start the cluster with RAY_AUTH_MODE=token",
    )
