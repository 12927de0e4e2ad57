"""The hosts that a training run has its ranks on, and what the `deepspeed` launcher is told.

    OneHost      ipt train CONFIG                       ranks on this machine
    OverSsh      ipt train CONFIG --hostfile hosts      the launcher reaches every host by ssh
    HostShare    ipt submit train CONFIG --no_ssh ...   each host starts its own: pods, Slurm

All hosts see the run's folder, and have the same Python at the same path.
"""

import os
import re
import shlex
import shutil
import socket
import subprocess
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from pipeline import storage
from pipeline.errors import InputError, JobFailedError
from pipeline.process import EXIT_STOPPED, STARTER_FILE

OF_SSH = 255
"""Exit code of ssh itself, which lost its host or did not get there."""
DEFAULT_PORT = 29500
"""Where ranks on several hosts meet, as torch and DeepSpeed have it."""
_HOST_LINE = re.compile(r"(?P<host>[\w.@:-]+)\s+slots=(?P<slots>[1-9]\d*)")
_SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
# A host that is cut off says nothing more: ssh has to find out by itself, or waits for ever.
_SSH_NOTICES = "-o BatchMode=yes -o ServerAliveInterval=15 -o ServerAliveCountMax=4"
_SSH_OPTIONS = "PDSH_SSH_ARGS_APPEND"
_SESSION_ENDED = re.compile(r"pdsh@\S+: (?P<host>\S+): ssh exited with exit code (?P<code>\d+)")
_OWN_VARIABLES = "deepspeed-{}.env"
_PASSING = re.compile(
    "timed out|refused|no route|unreachable|closed by|reset by|broken pipe", re.IGNORECASE
)
"""What ssh says of a host that is down, cut off or starting."""
_ASKS_AT_ONCE = 32
_PASSED_ON = ("DS_ACCELERATOR", "OMP_NUM_THREADS", "TRANSFORMERS_VERBOSITY", "HF_HOME")
_PASSED_ON_BY_PREFIX = ("GLOO_", "NCCL_", "TORCH_", "HF_HUB_")


class Placement(Protocol):
    """Where ranks are, as the launcher on this machine sees it."""

    @property
    def first_rank(self) -> int:
        """Number of the first rank that this machine starts."""

    @property
    def num_local_ranks(self) -> int:
        """Ranks below the launcher on this machine."""

    @property
    def log_name(self) -> str:
        """File for what the launcher prints, in the run's `logs/`."""

    def check(self) -> None:
        """Refuse hosts that cannot be used.

        Raises:
            InputError: names the host and what to do.
            JobFailedError: a host is away, and may come back.
        """

    def options(self, log_folder: str) -> list[str]:
        """The launcher's options."""

    def launcher_variables(self, log_folder: str) -> dict[str, str]:
        """What the launcher itself needs to have set, beside the variables of the ranks."""

    def prepare(self, environment: Mapping[str, str], log_folder: str) -> dict[str, str]:
        """Write to `log_folder` the files that these name, and end what an earlier start left.

        Args:
            environment: of the ranks.
            log_folder: the run's.

        Returns:
            Variables of the launcher for this start alone, which nobody types.
        """

    def ask_to_stop(self, script: str, config_path: str) -> None:
        """Ask ranks that are not below the launcher to save and stop."""

    def without_host(self, line: str) -> str:
        """A line of the launcher's output, as the rank wrote it."""

    def lost_host(self, line: str) -> str:
        """Which host has failed, if a line of the launcher's output says so, and how."""


@dataclass(frozen=True)
class OneHost:
    """All ranks on this machine."""

    num_ranks: int
    first_rank: int = 0
    log_name: str = "train.log"

    @property
    def num_local_ranks(self) -> int:
        """All of them."""
        return self.num_ranks

    def check(self) -> None:
        """This machine is there."""

    def options(self, log_folder: str) -> list[str]:
        """Their number, and a port that is free."""
        return [f"--num_accelerators={self.num_ranks}", f"--master_port={_free_port()}"]

    def launcher_variables(self, log_folder: str) -> dict[str, str]:
        """None."""
        return {}

    def prepare(self, environment: Mapping[str, str], log_folder: str) -> dict[str, str]:
        """No file is needed; ranks here end with their starter."""
        return {}

    def ask_to_stop(self, script: str, config_path: str) -> None:
        """Nobody: all are below the launcher."""

    def without_host(self, line: str) -> str:
        """As it is."""
        return line

    def lost_host(self, line: str) -> str:
        """None: the launcher looks after its ranks."""
        return ""


@dataclass(frozen=True)
class HostShare:
    """The ranks of this host, of a run that is started once on each host."""

    num_ranks: int
    """Of each host."""
    num_nodes: int
    node_rank: int
    """Of this host, from 0."""
    master_addr: str = ""
    """Name or address of host 0, as the others reach it."""
    master_port: int = DEFAULT_PORT

    @property
    def first_rank(self) -> int:
        """Hosts number their ranks one host after the other."""
        return self.node_rank * self.num_ranks

    @property
    def log_name(self) -> str:
        """One file a host."""
        return f"train-{self.node_rank}.log" if self.node_rank else "train.log"

    @property
    def num_local_ranks(self) -> int:
        """Those of one host."""
        return self.num_ranks

    def check(self) -> None:
        """Refuse numbers that do not go together.

        Raises:
            InputError: says which.
        """
        if self.num_nodes < 1:
            raise InputError(f"--num_nodes ({self.num_nodes}) must be at least 1")
        if not 0 <= self.node_rank < self.num_nodes:
            raise InputError(
                f"--node_rank ({self.node_rank}) must be from 0 to {self.num_nodes - 1}, as there "
                f"are {self.num_nodes} hosts (--num_nodes)"
            )
        if not self.master_addr and self.num_nodes > 1:
            raise InputError(
                "--master_addr is missing: the name or address of host 0, the same on every host"
            )

    def options(self, log_folder: str) -> list[str]:
        """Where the hosts meet, and a hostfile that says how many ranks each has."""
        return [
            f"--hostfile={self._hostfile(log_folder)}",
            "--no_ssh",
            f"--node_rank={self.node_rank}",
            f"--master_addr={self.master_addr or '127.0.0.1'}",
            f"--master_port={self.master_port}",
        ]

    def launcher_variables(self, log_folder: str) -> dict[str, str]:
        """None."""
        return {}

    def prepare(self, environment: Mapping[str, str], log_folder: str) -> dict[str, str]:
        """The hostfile; hosts write the same."""
        lines = [f"host-{number} slots={self.num_ranks}\n" for number in range(self.num_nodes)]
        storage.write_atomic(self._hostfile(log_folder), "".join(lines).encode())
        return {}

    def _hostfile(self, log_folder: str) -> str:
        return storage.join(log_folder, f"hostfile-{self.num_nodes}x{self.num_ranks}")

    def ask_to_stop(self, script: str, config_path: str) -> None:
        """Nobody: the ranks of this host tell the others."""

    def without_host(self, line: str) -> str:
        """As it is."""
        return line

    def lost_host(self, line: str) -> str:
        """None: the launcher looks after its ranks."""
        return ""


@dataclass(frozen=True)
class OverSsh:
    """The ranks of all hosts of a hostfile, which DeepSpeed starts through pdsh and ssh."""

    hostfile: Path
    master_addr: str = ""
    """Of the first host; empty: as it names itself (`hostname -I`)."""
    master_port: int = DEFAULT_PORT
    first_rank: int = 0
    log_name: str = "train.log"

    @cached_property
    def hosts(self) -> dict[str, int]:
        """Ranks by host, in order.

        Raises:
            InputError: the file is missing, empty or has a line that is none.
        """
        if not self.hostfile.is_file():
            raise InputError(f"--hostfile {self.hostfile}: no such file")
        found: dict[str, int] = {}
        for number, text in enumerate(self.hostfile.read_text("utf-8").splitlines(), 1):
            line = text.strip()
            if not line or line.startswith("#"):
                continue
            match = _HOST_LINE.match(line)
            if match is None or match["host"] in found:
                wrong = "is there twice" if match else "is no host"
                raise InputError(
                    f"{self.hostfile}, line {number}: {line!r} {wrong}; a line for each host, as "
                    f"worker-1 slots=8"
                )
            found[match["host"]] = int(match["slots"])
        if not found:
            raise InputError(f"--hostfile {self.hostfile} names no host; write worker-1 slots=8")
        return found

    @property
    def num_local_ranks(self) -> int:
        """None: all are below the ssh servers of their hosts."""
        return 0

    def check(self) -> None:
        """Ask every host whether it lets us in.

        Raises:
            InputError: pdsh is missing, or a host is unknown or does not let us in.
            JobFailedError: hosts do not answer.
        """
        hosts = list(self.hosts)
        if shutil.which("pdsh") is None:
            raise InputError(
                "--hostfile: pdsh is missing, by which DeepSpeed reaches hosts; install it "
                "(apt install pdsh), or start each host's part with --no_ssh"
            )
        with ThreadPoolExecutor(min(len(hosts), _ASKS_AT_ONCE)) as pool:
            answers = dict(zip(hosts, pool.map(_answer_of, hosts), strict=True))
        silent = {host: answer for host, answer in answers.items() if answer}
        if not silent:
            return
        # What the user has to mend comes first; hosts that are only away may be back by themselves.
        host = min(silent, key=lambda name: _may_pass(silent[name]))
        error, remedy = (
            (JobFailedError, "run again once it is back, or take it out of the hostfile")
            if _may_pass(silent[host])
            else (InputError, f"make `ssh {host} true` work without a password")
        )
        raise error(
            f"--hostfile {self.hostfile}: {len(silent)} of {len(hosts)} hosts cannot be "
            f"reached ({', '.join(silent)}); {host}: {silent[host]}; {remedy}"
        )

    def options(self, log_folder: str) -> list[str]:
        """The hostfile, and where ranks meet."""
        address = [f"--master_addr={self.master_addr}"] if self.master_addr else []
        # Each host was asked already, and by name: the launcher would ask the first one only.
        return [
            f"--hostfile={self.hostfile.absolute()}",
            *address,
            f"--master_port={self.master_port}",
            "--no_ssh_check",
        ]

    def launcher_variables(self, log_folder: str) -> dict[str, str]:
        """Which variables go to other hosts, and how ssh finds out that one is gone."""
        return {
            "DS_ENV_FILE": self._variables_file(log_folder),
            _SSH_OPTIONS: os.environ.get(_SSH_OPTIONS, _SSH_NOTICES),
        }

    def prepare(self, environment: Mapping[str, str], log_folder: str) -> dict[str, str]:
        """The variables that ranks on other hosts need, none of them a secret.

        Ranks of this start have a file of their own, which the next start removes: a host that is
        gone without a word leaves ranks that know of nothing, and so they save and stop.
        """
        passed_on = [
            f"{name}={value}\n"
            for name, value in sorted(environment.items())
            if name in _PASSED_ON or name.startswith(_PASSED_ON_BY_PREFIX)
        ]
        for earlier in Path(log_folder).glob(_OWN_VARIABLES.format("*")):
            earlier.unlink(missing_ok=True)
        own = storage.join(log_folder, _OWN_VARIABLES.format(uuid.uuid4().hex))
        typed = self._variables_file(log_folder)
        for path, lines in ((typed, passed_on), (own, [*passed_on, f"{STARTER_FILE}={own}\n"])):
            storage.write_atomic(path, "".join(lines).encode())
        return {"DS_ENV_FILE": own}

    def _variables_file(self, log_folder: str) -> str:
        return storage.join(log_folder, "deepspeed.env")

    def ask_to_stop(self, script: str, config_path: str) -> None:
        """Send SIGTERM to rank 0; ranks agree on a stop among themselves."""
        first = next(iter(self.hosts))
        rank = re.escape(f"{script} --local_rank=0 {config_path}")
        pattern = f"[{rank[0]}]{rank[1:]}"  # which the shell that runs this does not match itself
        subprocess.run(
            [*_SSH, first, f"pkill -TERM -f {shlex.quote(pattern)}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )

    def without_host(self, line: str) -> str:
        """Without the name that pdsh puts before it."""
        host, colon, words = line.partition(": ")
        return words if colon and host in self.hosts else line

    def lost_host(self, line: str) -> str:
        """One whose ranks have ended, and not in order; pdsh leaves the others to wait for them."""
        ended = _SESSION_ENDED.match(line)
        if ended is None or int(ended["code"]) == EXIT_STOPPED:
            return ""
        how = "out of reach" if int(ended["code"]) == OF_SSH else f"exit code {ended['code']}"
        return f"{ended['host']} ({how})"


def _may_pass(answer: str) -> bool:
    return _PASSING.search(answer) is not None


def _answer_of(host: str) -> str:
    """What keeps a host from being reached; empty: nothing does."""
    done = subprocess.run(
        [*_SSH, host, "true"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"ssh ended with exit code {done.returncode}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
