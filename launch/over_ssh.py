"""Ranks on the hosts of a hostfile, which DeepSpeed reaches through pdsh and ssh."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from launch.placement import DEFAULT_PORT
from pipeline import storage
from pipeline.errors import InputError, JobFailedError
from pipeline.process import EXIT_STOPPED, GUESSED_ACCELERATOR, STARTER_FILE

OF_SSH = 255
"""Exit code of ssh itself, which lost its host or did not get there."""
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
_ASKS_AT_ONCE, _LONGEST_ANSWER_S = 32, 30
_PLAIN = re.compile(r"[\w@%+=:,./ -]*")
_PASSED_ON = ("DS_ACCELERATOR", "OMP_NUM_THREADS", "TRANSFORMERS_VERBOSITY", "HF_HOME")
_PASSED_ON_BY_PREFIX = ("GLOO_", "NCCL_", "TORCH_", "HF_HUB_")


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

    def check(self, words: Sequence[str]) -> None:
        """Ask every host whether it lets us in.

        Raises:
            InputError: pdsh is missing, a host is unknown or does not let us in, or a word has
                characters that mean something to the hosts' shells.
            JobFailedError: hosts do not answer.
        """
        for word in words:
            if not _PLAIN.fullmatch(word):
                raise InputError(
                    f"--hostfile: {word!r} would pass through the shells of other hosts, which "
                    f"change it; write such settings into the TOML, and name it by letters, "
                    f"digits and . _ - / only"
                )
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
            "--force_multi",  # or one host alone would be taken for this one
        ]

    def launcher_variables(self, log_folder: str) -> dict[str, str]:
        """Which variables go to other hosts, and how ssh finds out that one is gone."""
        return {
            "DS_ENV_FILE": self._variables_file(log_folder),
            _SSH_OPTIONS: os.environ.get(_SSH_OPTIONS, _SSH_NOTICES),
        }

    def prepare(self, environment: Mapping[str, str], log_folder: str) -> dict[str, str]:
        """The variables that ranks on other hosts need, none of them a secret.

        Ranks of this start have a file of their own, which `take_over` of the next start removes:
        a host that is gone without a word leaves ranks that know of nothing.
        """
        passed_on = [
            f"{name}={value}\n"
            for name, value in sorted(environment.items())
            if name in _PASSED_ON or name.startswith(_PASSED_ON_BY_PREFIX)
            if name != "DS_ACCELERATOR" or GUESSED_ACCELERATOR not in environment
        ]
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
        with contextlib.suppress(subprocess.TimeoutExpired):  # it is asked again
            subprocess.run(
                [*_SSH, first, f"pkill -TERM -f {shlex.quote(pattern)}"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=_LONGEST_ANSWER_S,
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


def take_over(log_folder: str) -> None:
    """Ask ranks that an earlier start has left on other hosts to save and stop."""
    for earlier in Path(log_folder).glob(_OWN_VARIABLES.format("*")):
        earlier.unlink(missing_ok=True)


def _may_pass(answer: str) -> bool:
    return _PASSING.search(answer) is not None


def _answer_of(host: str) -> str:
    """What keeps a host from being reached; empty: nothing does."""
    try:
        done = subprocess.run(
            [*_SSH, host, "true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST_ANSWER_S,
        )
    except subprocess.TimeoutExpired:
        return f"timed out: lets us in, and does not run `true` within {_LONGEST_ANSWER_S} s"
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"ssh ended with exit code {done.returncode}"
