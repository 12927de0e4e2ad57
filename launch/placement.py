"""The hosts that a training run has its ranks on, and what the `deepspeed` launcher is told.

    OneHost      ipt train CONFIG                       ranks on this machine
    OverSsh      ipt train CONFIG --hostfile hosts      over_ssh.py: by ssh to every host
    HostShare    ipt submit train CONFIG --no_ssh ...   each host starts its own: pods, Slurm

All hosts see the run's folder, and have the same Python at the same path.
"""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline import storage
from pipeline.errors import InputError

DEFAULT_PORT = 29500
"""Where ranks on several hosts meet, as torch and DeepSpeed have it."""


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

    def check(self, words: Sequence[str]) -> None:
        """Refuse hosts that cannot be used.

        Args:
            words: arguments of the ranks.

        Raises:
            InputError: names the host or the argument, and what to do.
            JobFailedError: a host is away, and may come back.
        """

    def options(self, log_folder: str) -> list[str]:
        """The launcher's options."""

    def launcher_variables(self, log_folder: str) -> dict[str, str]:
        """What the launcher itself needs to have set, beside the variables of the ranks."""

    def prepare(self, environment: Mapping[str, str], log_folder: str) -> dict[str, str]:
        """Write to `log_folder` the files that these name.

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

    def check(self, words: Sequence[str]) -> None:
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

    def check(self, words: Sequence[str]) -> None:
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
