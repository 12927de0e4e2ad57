"""Random preemption of hosts over a whole run, and the proof that it made no difference.

    python -m tests.faults hosts --kills 12

`ipt run` goes through all stages on three hosts: synthesis and packing on a Ray cluster of them,
training over ssh on two. Again and again, at a random moment, a host is switched off or its cable
is taken out; it comes back seconds later, as a preempted one does, and what ran there is started
again, by a loop as simple as a cluster's controllers. Then the run is audited, and its losses are
compared with those of a run that nobody disturbed. Exit code 1 unless nothing is lost, nothing is
there twice, and each step has the undisturbed loss.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from launch.audit import audit_run
from pipeline.process import EXIT_BAD_INPUT
from pipeline.run_folder import RunFolder
from tests.benchmarks.bars import at_least, at_most, conclude, figure
from tests.cluster.hosts import Host, can_have_hosts, hosts_on_a_network, serve_ssh
from tests.cluster.ray_cluster import RayCluster
from tests.integration.conftest import run_ipt, write_config, write_corpus
from tests.processes import wait_for
from train.metrics import read_metrics

_SETTINGS = (
    "synth.engine.fake.delay_s=0.4",
    "synth.journal=true",
    "train.checkpoint_every=20",
    "train.log_every=100",
    "train.watchdog_s=12",
    "eval.max_rows=8",
)
_WAYS = ("power_off", "cut")
_PAUSE_S = (4.0, 25.0)
"""Shortest and longest time between two kills."""
_AWAY_S = (1.0, 8.0)
_SHOWN_OF_LOG = 1500
_CUT_S = (5.0, 45.0)
"""How long a cable is out: some connections live through it, others do not."""


@dataclass
class Preemption:
    """A run on hosts that come and go."""

    cluster: RayCluster
    config: Path
    hostfile: Path
    settings: tuple[str, ...]
    seed: int
    killed: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    job: subprocess.Popen[str] | None = None
    bad_exits: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Decide all that is random by the seed."""
        self._choice = random.Random(self.seed)

    @property
    def log(self) -> Path:
        """What all starts of the job printed."""
        return self.config.with_suffix(".log")

    def under_fire(self, num_kills: int, timeout_s: float) -> bool:
        """Keep the run going until it is complete; whether it is, within the time."""
        deadline = time.monotonic() + timeout_s
        next_kill_s = self._next_kill()
        while time.monotonic() < deadline:
            if self._tend():
                return True
            if self.killed.total() < num_kills and time.monotonic() > next_kill_s:
                self._kill_one()
                next_kill_s = self._next_kill()
            time.sleep(0.5)
        return False

    def stage(self) -> str:
        """The stage under way."""
        folder = RunFolder(str(self.config.with_suffix("")))
        stages = ("documents", "augmented", "filtered", "rows", "train", "hf", "eval")
        done = [name for name in stages if (Path(folder.root) / name / "manifest.json").exists()]
        return stages[len(done)] if len(done) < len(stages) else "complete"

    def _next_kill(self) -> float:
        return time.monotonic() + self._choice.uniform(*_PAUSE_S)

    def _tend(self) -> bool:
        """Start what should run and does not; whether the job is done."""
        for host in self.cluster.hosts:
            if host.init is None:
                host.boot()
                serve_ssh([host])
        nodes = self.cluster.nodes
        if not self._runs(nodes.get(self.cluster.head.name)):
            self.cluster.start_node(self.cluster.head, 0)
            self.job = None  # a process of the head, which is gone
            wait_for(self.cluster.answers, 60)
        for host in self.cluster.hosts[1:]:
            if not self._runs(nodes.get(host.name)):
                self.cluster.start_node(host, 1)
        if self.job is not None and (code := self.job.poll()) is not None:
            if code == 0:
                return True
            if code == EXIT_BAD_INPUT:
                self.bad_exits.append(code)
                print("refused: " + self.log.read_text()[-_SHOWN_OF_LOG:], flush=True)
            self.job = None
        if self.job is None:
            self.starts += 1
            command = (
                "ipt",
                "run",
                str(self.config),
                *self.settings,
                "--hostfile",
                str(self.hostfile),
            )
            self.job = self.cluster.head.start(*command, log=self.log)
        return False

    @staticmethod
    def _runs(program: subprocess.Popen[str] | None) -> bool:
        return program is not None and program.poll() is None

    def _kill_one(self) -> None:
        host: Host = self._choice.choice(self.cluster.hosts)
        way = self._choice.choice(_WAYS)
        stage = self.stage()
        if way == "cut":
            host.cut()
            time.sleep(self._choice.uniform(*_CUT_S))
            host.join()
        else:
            host.power_off()
            if host is self.cluster.head:
                self.job = None
            time.sleep(self._choice.uniform(*_AWAY_S))
        self.killed[f"{way} {stage}"] += 1
        print(f"kill {self.killed.total():>3}: {way:<9} of {host.name} in {stage}", flush=True)


@dataclass(frozen=True)
class Outcome:
    """What a run under fire left."""

    is_complete: bool
    killed: Counter[str]
    starts: int
    refusals: int
    """Starts that ended with exit code 2, as if the user had to mend something."""
    documents: int
    lost: int
    duplicated: int
    problems: list[str]
    steps: int
    steps_that_differ: int
    log: str


def drill(
    folder: Path, num_kills: int, seed: int, timeout_s: float, texts: int, steps: int
) -> Outcome:
    """Run once undisturbed on this machine, once on hosts under fire, and compare.

    Args:
        folder: for both runs.
        num_kills: of hosts, unless the run is complete before.
        seed: of what is random.
        timeout_s: seconds for the run under fire.
        texts: to write about.
        steps: of training.
    """
    from tests.tokenizers import save_tokenizer

    tokenizer = save_tokenizer(folder / "tokenizer")
    write_corpus(folder / "corpus.jsonl", texts)
    calm, fired = (write_config(folder, name, tokenizer) for name in ("calm", "fired"))
    settings = (*_SETTINGS, f"train.num_steps={steps}")
    run_ipt("run", str(calm), *settings, "synth.engine.fake.delay_s=0")
    hostfile = folder / "hosts.txt"
    hostfile.write_text("host-1 slots=1\nhost-2 slots=1\n")
    quick = "-o BatchMode=yes -o ServerAliveInterval=3 -o ServerAliveCountMax=3"
    variables = {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "PDSH_SSH_ARGS_APPEND": quick}
    with hosts_on_a_network(3, **variables) as hosts:
        serve_ssh(hosts)
        cluster = RayCluster(hosts, folder)
        cluster.start()
        preemption = Preemption(cluster, fired, hostfile, settings, seed)
        is_complete = preemption.under_fire(num_kills, timeout_s)
    losses = {config: _losses(config.with_suffix("")) for config in (calm, fired)}
    differing = sum(
        found[0] != wanted[0] or abs(found[1] - wanted[1]) > 1e-5
        for found, wanted in zip(losses[fired], losses[calm], strict=False)
    )
    audit = audit_run(RunFolder(str(fired.with_suffix(""))))
    return Outcome(
        is_complete,
        preemption.killed,
        preemption.starts,
        len(preemption.bad_exits),
        audit.documents,
        audit.lost,
        audit.duplicated,
        audit.problems,
        len(losses[fired]),
        differing + abs(len(losses[fired]) - len(losses[calm])),
        preemption.log.read_text(),
    )


def _losses(run: Path) -> list[tuple[int, float]]:
    lines = read_metrics(str(run / "train" / "metrics.jsonl"))
    return [(line["step"], line["loss"]) for line in lines]


def main(arguments: list[str]) -> int:
    """Run the drill."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--texts", type=int, default=1200)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--timeout-s", type=float, default=3000)
    options = parser.parse_args(arguments)
    if reason := can_have_hosts(with_ssh=True):
        sys.exit(f"no hosts here: {reason}")
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    with tempfile.TemporaryDirectory(prefix="ipt-faults-") as name:
        outcome = drill(
            Path(name),
            options.kills,
            options.seed,
            options.timeout_s,
            options.texts,
            options.steps,
        )
    print(outcome.log[-_SHOWN_OF_LOG:], flush=True)
    print("\n".join(f"problem: {line}" for line in outcome.problems))
    print(
        "kills: " + ", ".join(f"{what} {count}" for what, count in sorted(outcome.killed.items()))
    )
    return conclude(
        "faults_hosts",
        {
            "complete": at_least(outcome.is_complete, 1),
            "kills": at_least(outcome.killed.total(), options.kills),
            "lost": at_most(outcome.lost, 0),
            "duplicated": at_most(outcome.duplicated, 0),
            "problems_of_the_audit": at_most(len(outcome.problems), 0),
            "steps_that_differ": at_most(outcome.steps_that_differ, 0),
            "starts_refused": at_most(outcome.refusals, 0),
            "documents": figure(outcome.documents),
            "steps": figure(outcome.steps),
            "starts": figure(outcome.starts),
        },
    )
