"""Hosts of a drill on one machine: each with its network, processes, name and shared memory.

             switch (a network namespace with a bridge)
            /            |            \\
        host-0        host-1        host-2         10.77.0.1, 10.77.0.2, 10.77.0.3
        init          init          init           `cut` takes the cable out, `power_off` ends all

A host is a process in namespaces of its own (network, processes, mounts, host name, shared
memory); what else runs on the host is below it, and ends with it as with a power cut. Files are
this machine's: the storage that hosts share. Needs root, as namespaces do.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.processes import DRILL, wait_for

_NAMESPACES = ("--net", "--mount", "--pid", "--uts", "--ipc")
_PRIVATE = {"/dev/shm": "1777", "/tmp/ray": "1777", "/root/.ssh": "0700", "/run/sshd": "0755"}
"""Folders that a host has for itself, and their modes."""
BIN = Path(sys.executable).parent
_SSH_SERVER = "/usr/sbin/sshd"


def can_have_hosts(with_ssh: bool = False) -> str:
    """Why there can be no hosts here, that reach each other by ssh; empty: there can."""
    if with_ssh and not (shutil.which("pdsh") and Path(_SSH_SERVER).exists()):
        return "pdsh or an ssh server is missing (apt install pdsh openssh-server)"
    if os.geteuid() != 0:
        return "namespaces need root"
    missing = [tool for tool in ("ip", "unshare", "nsenter") if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} is missing (apt install iproute2 util-linux)"
    tried = subprocess.run(["unshare", *_NAMESPACES, "--fork", "true"], capture_output=True)
    return "" if tried.returncode == 0 else f"no namespaces: {tried.stderr.decode().strip()}"


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


@dataclass
class Host:
    """One host; it is on until it is powered off."""

    name: str
    address: str
    port: str
    """Of the switch, that its cable is in."""
    switch: int
    """A process in the switch's network."""
    folder: Path
    """For its copy of `/etc/hosts` and its keys."""
    environment: dict[str, str]
    init: subprocess.Popen[bytes] | None = None
    programs: list[subprocess.Popen[str]] = field(default_factory=list)

    def boot(self) -> None:
        """Switch it on; nothing runs on it but its init."""
        set_up = [
            f"hostname {self.name}",
            f"mount --bind {self.folder / 'hosts'} /etc/hosts",
            *(
                f"mkdir -p {path} && mount -t tmpfs -o mode={mode} tmpfs {path}"
                for path, mode in _PRIVATE.items()
            ),
            "ip link set lo up",
            f"touch {self.folder / self.name}.up",
            "exec sleep infinity",
        ]
        with contextlib.suppress(FileNotFoundError):
            (self.folder / f"{self.name}.up").unlink()
        self.init = subprocess.Popen(
            [
                *("unshare", *_NAMESPACES, "--fork", "--kill-child", "--mount-proc"),
                *("sh", "-e", "-c", "\n".join(set_up)),
            ]
        )
        assert wait_for((self.folder / f"{self.name}.up").exists, 30), f"{self.name} did not boot"
        inside = str(self._process())
        _run("nsenter", "-t", str(self.switch), "-n", "ip", "link", "add", self.port, "type",
             "veth", "peer", "name", "eth0", "netns", inside)  # fmt: skip
        for command in (f"link set {self.port} master lan", f"link set {self.port} up"):
            _run("nsenter", "-t", str(self.switch), "-n", "ip", *command.split())
        for command in (f"addr add {self.address}/24 dev eth0", "link set eth0 up"):
            _run("nsenter", "-t", inside, "-n", "ip", *command.split())

    def cut(self) -> None:
        """Take the cable out: its packets and those for it are dropped."""
        _run("nsenter", "-t", str(self.switch), "-n", "ip", "link", "set", self.port, "down")

    def join(self) -> None:
        """Put the cable in again."""
        _run("nsenter", "-t", str(self.switch), "-n", "ip", "link", "set", self.port, "up")

    def power_off(self) -> None:
        """End everything on it at once, without a word."""
        assert self.init is not None
        self.init.kill()  # and the kernel ends its child, and with that all below
        self.init.wait()
        self.init = None
        # The kernel clears a network without anybody when it finds the time, and its cable with it.
        old = ("nsenter", "-t", str(self.switch), "-n", "ip", "link", "delete", self.port)
        subprocess.run(old, capture_output=True)
        for program in self.programs:
            program.wait()
        self.programs.clear()

    def start(
        self, *command: str, log: Path | None = None, variables: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a program on it; its output goes to `log`."""
        with (log or Path(os.devnull)).open("a") as file:
            program = subprocess.Popen(
                self._entered(command, variables or {}),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                text=True,
            )
        self.programs.append(program)
        return program

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program on it to its end."""
        done = subprocess.run(
            self._entered(command, {}), capture_output=True, text=True, timeout=300
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def signal(self, name: str, pattern: str) -> None:
        """Send a signal to those of its programs whose command line has `pattern`."""
        self.run("pkill", f"-{name}", "-f", pattern)

    def _process(self) -> int:
        """The init, as this machine numbers it."""
        assert self.init is not None
        children = Path(f"/proc/{self.init.pid}/task/{self.init.pid}/children").read_text().split()
        return int(children[0])

    def _entered(self, command: tuple[str, ...], variables: Mapping[str, str]) -> list[str]:
        settings = [f"{key}={text}" for key, text in {**self.environment, **variables}.items()]
        inside = str(self._process())
        return [
            "nsenter",
            "-t",
            inside,
            *_NAMESPACES,
            f"--wd={Path.cwd()}",
            "env",
            *settings,
            *command,
        ]


@contextlib.contextmanager
def hosts_on_a_network(number: int, **environment: str) -> Iterator[list[Host]]:
    """So many hosts that reach each other by address and by name, and nothing else.

    Args:
        number: of hosts.
        environment: variables of everything that is started on them.
    """
    folder = Path(tempfile.mkdtemp(prefix="ipt-hosts-"))
    names = {f"host-{index}": f"10.77.0.{index + 1}" for index in range(number)}
    lines = [f"{address} {name}\n" for name, address in names.items()]
    (folder / "hosts").write_text("127.0.0.1 localhost\n" + "".join(lines))
    variables = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **environment}
    variables[DRILL] = os.environ.get(DRILL, uuid.uuid4().hex)
    switch = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    hosts: list[Host] = []
    try:
        assert wait_for(lambda: _network_of(switch.pid) != _network_of(os.getpid()), 10)
        for command in ("link add lan type bridge", "link set lan up"):
            _run("nsenter", "-t", str(switch.pid), "-n", "ip", *command.split())
        for index, (name, address) in enumerate(names.items()):
            host = Host(name, address, f"port{index}", switch.pid, folder, dict(variables))
            hosts.append(host)
            host.boot()
        yield hosts
    finally:
        for host in hosts:
            if host.init is not None:
                host.power_off()
        switch.kill()
        switch.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _network_of(process: int) -> str:
    return os.readlink(f"/proc/{process}/ns/net")


def serve_ssh(hosts: list[Host]) -> None:
    """Let the hosts reach each other by ssh, without a password, until they are switched off."""
    folder = hosts[0].folder
    if not (folder / "id").exists():
        for key in ("id", "host_key"):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key))
        public = (folder / "host_key.pub").read_text().split()[:2]
        (folder / "known_hosts").write_text(f"host-*,10.77.0.* {' '.join(public)}\n")
        (folder / "sshd_config").write_text(
            f"HostKey {folder / 'host_key'}\nAuthorizedKeysFile /root/.ssh/authorized_keys\n"
            f"PermitRootLogin prohibit-password\nUsePAM no\nStrictModes no\nMaxStartups 100\n"
        )
    for host in hosts:
        copies = (
            f"cp {folder / 'id'} /root/.ssh/id_ed25519 && cp {folder / 'known_hosts'} /root/.ssh/"
        )
        host.run("sh", "-c", f"{copies} && cp {folder / 'id.pub'} /root/.ssh/authorized_keys")
        host.start(
            _SSH_SERVER, "-D", "-e", "-f", str(folder / "sshd_config"), log=folder / "sshd.log"
        )
        wait_until_in = f"until ssh -o BatchMode=yes {host.name} true; do sleep 0.1; done"
        host.run("timeout", "30", "sh", "-c", wait_until_in)
