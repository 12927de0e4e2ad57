"""Random kills over a synthesis job, and the proof that it made no difference.

    python -m tests.faults --kills 50
    python -m tests.faults --kills 8 --engine vllm

A three-node Ray cluster on this machine runs `ipt synth` with the fake engine, or with vLLM and a
tiny model. Every few seconds a process is picked and killed with SIGKILL: an engine, a Ray worker,
the driver (which is started again) or a whole raylet (whose node is replaced). Then the job may
finish, and what it wrote is compared with what went in. Ends in one line; exit code 1 unless
nothing was lost, nothing written twice, and no more parts were begun again than were in flight when
something was killed.
"""

import argparse
import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from pipeline.contracts import decode_chain, decode_document
from pipeline.shards import read_lines
from pipeline.stage import read_commits, read_manifest
from tests.benchmarks.bars import at_least, at_most, conclude, figure
from tests.processes import DRILL, marked_processes

TARGETS = ("engine", "worker", "driver", "raylet")
_WORKER_SIGN = "ray::SynthWorker"
_RAY_SIGNS = ("ray::", "default_worker.py")
_ENGINE_SIGNS = {"fake": "synth.engines.fake_process", "vllm": "VLLM::EngineCor"}
ON_VLLM = [
    "synth.engine.kind=vllm",
    "synth.protocol=chat",
    "synth.styles={faq=1}",
    "synth.engine.max_num_seqs=4",
    "synth.engine.kv_cache_gib=1",
    "synth.max_new_tokens=64",
    "synth.max_model_len=2048",
]
"""Overrides that put the tests' small run on a real engine."""
_LOG_LINE = re.compile(r"^(\d\d):(\d\d):(\d\d\.\d+) (\S+/part-\d+) (begun|committed|was committed)")
_DAY_S = 24 * 60 * 60


@dataclass
class Audit:
    """What a job's shards hold, against what went in."""

    documents: int = 0
    lost: int = 0
    duplicated: int = 0
    quarantined: int = 0


def audit(run: Path) -> Audit:
    """Compare the documents of a complete synthesis with the shots that its sidecars name."""
    read_manifest(str(run / "augmented"))
    result = Audit()
    written = read_commits(str(run / "augmented"))
    for part, commit in read_commits(str(run / "documents")).items():
        lines = read_lines(str(run / "documents" / commit.shard))
        wanted = Counter(doc.id for doc in map(decode_document, lines) if doc.is_converted)
        lines = read_lines(str(run / "augmented" / written[part].shard))
        found = Counter(shot.doc_id for line in lines for shot in decode_chain(line).shots)
        result.documents += wanted.total()
        result.lost += (wanted - found).total()
        result.duplicated += (found - wanted).total()
        result.quarantined += written[part].counts.get("documents_quarantined", 0)
    return result


class _Event(NamedTuple):
    """What a worker's log says of a part."""

    time_of_day: float
    """Seconds."""
    part: str
    what: str
    """`begun`, `committed` or `was committed`."""


@dataclass
class Drill:
    """One job under fire."""

    config: Path
    run: Path
    seed: int
    engine: str = "fake"
    """`fake` or `vllm`."""
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    killed: Counter[str] = field(default_factory=Counter)
    exposed: dict[int, float] = field(default_factory=dict)
    """Process ids of workers that a kill ended, their own or that of their driver or node, with the
    time of day of the kill in seconds: a worker may outlive its driver for a while and even commit
    what the next driver has given to others already."""
    driver: subprocess.Popen[str] | None = None
    cluster: Any = None
    nodes: list[Any] = field(default_factory=list)

    @contextlib.contextmanager
    def under_way(self, num_nodes: int = 2) -> Iterator[None]:
        """A cluster of a head without slots for workers and `num_nodes` nodes with one each."""
        from ray.cluster_utils import Cluster

        os.environ[DRILL] = self.mark
        self.cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
        )
        try:
            self.nodes = [self.cluster.add_node(num_cpus=1) for _ in range(num_nodes)]
            yield
        finally:
            if self.driver is not None:
                self.driver.kill()
                self.driver.wait()
            self.cluster.shutdown()
            del os.environ[DRILL]

    def start_driver(self) -> None:
        """Start `ipt synth` on the cluster."""
        ipt = str(Path(sys.executable).with_name("ipt"))
        self.driver = subprocess.Popen(
            [ipt, "synth", str(self.config), *(ON_VLLM if self.engine == "vllm" else [])],
            env=dict(os.environ, RAY_ADDRESS=self.cluster.address),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def engines(self) -> list[int]:
        """Process ids of the engines."""
        return marked_processes(self.mark, _ENGINE_SIGNS[self.engine])

    def kill(self, target: str) -> bool:
        """Kill one process; False if none of that kind is there."""
        if target == "driver":
            assert self.driver is not None
            self._expose(self._ray_workers())
            self.driver.kill()
            self.driver.wait()
            self.start_driver()
        elif target == "raylet":
            node = self.nodes.pop(0)
            raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
            self._expose(child.pid for child in raylet.children())
            self.cluster.remove_node(node, allow_graceful=False)
            self.nodes.append(self.cluster.add_node(num_cpus=1))
        else:
            workers = marked_processes(self.mark, _WORKER_SIGN)
            found = workers if target == "worker" else self.engines()
            if not found:
                return False
            process = random.Random(f"{self.seed}:{self.killed.total()}").choice(found)
            if target == "worker":
                self._expose([process])
            os.kill(process, signal.SIGKILL)
        self.killed[target] += 1
        return True

    def _ray_workers(self) -> list[int]:
        """All workers of the job under way, those not yet named after their actor included."""
        return [pid for sign in _RAY_SIGNS for pid in marked_processes(self.mark, sign)]

    def _expose(self, workers: Iterable[int]) -> None:
        now = datetime.now()
        time_of_day = (now - now.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
        for pid in workers:
            self.exposed.setdefault(pid, time_of_day)

    def at_risk(self) -> int:
        """Parts that were in flight in what was killed, over all kills."""
        return sum(len(self._in_flight(pid, killed_at)) for pid, killed_at in self.exposed.items())

    def wait_for_work(self) -> bool:
        """Wait until another part has been begun; False if the job ended before that."""
        assert self.driver is not None
        before = self.num_begun().total()
        while self.num_begun().total() == before:
            if self.driver.poll() is not None:
                return False
            time.sleep(0.2)
        return True

    def logs(self) -> Path:
        """Where Ray's workers write."""
        return Path(self.cluster.head_node.get_logs_dir_path())

    def _in_flight(self, worker: int, killed_at: float) -> set[str]:
        """Parts that a worker had begun, and not committed by the time of a kill, from its log."""
        held: set[str] = set()
        for path in self.logs().glob(f"worker-*-{worker}.out"):
            for event in self._events(path):
                if event.what == "begun":
                    held.add(event.part)
                elif (killed_at - event.time_of_day) % _DAY_S < _DAY_S / 2:
                    held.discard(event.part)
        return held

    def num_begun(self) -> Counter[str]:
        """How often each part was begun."""
        begun: Counter[str] = Counter()
        for path in self.logs().glob("worker-*.out"):
            begun.update(event.part for event in self._events(path) if event.what == "begun")
        return begun

    def _events(self, path: Path) -> Iterator[_Event]:
        for line in path.read_text(errors="replace").splitlines():
            if found := _LOG_LINE.match(line):
                hours, minutes, seconds, part, what = found.groups()
                yield _Event(int(hours) * 3600 + int(minutes) * 60 + float(seconds), part, what)


def finish(drill: Drill, timeout_s: float) -> tuple[int, str]:
    """Wait for the driver to end; returns its exit code and what it printed."""
    assert drill.driver is not None
    output, _ = drill.driver.communicate(timeout=timeout_s)
    return drill.driver.returncode, output


def prepare(folder: Path, num_documents: int, delay_s: float, engine: str = "fake") -> Path:
    """A run whose corpus is ingested; returns its config."""
    from tests.integration.conftest import run_ipt, write_config, write_corpus
    from tests.tiny_model import save_tiny_model
    from tests.tokenizers import save_tokenizer

    folder.mkdir(parents=True, exist_ok=True)
    write_corpus(folder / "corpus.jsonl", num_documents)
    save_model = save_tiny_model if engine == "vllm" else save_tokenizer
    config = write_config(folder, "run", save_model(folder / "model"))
    text = config.read_text().replace("convert_fraction = 0.5", "convert_fraction = 0.95")
    config.write_text(text.replace("fake.delay_s = 0.3", f"fake.delay_s = {delay_s}"))
    run_ipt("ingest", str(config))
    return config


def main() -> int:
    """Run the drill."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--documents", type=int, default=0, help="0: so many that the kills fit in")
    parser.add_argument("--engine", default="fake", choices=_ENGINE_SIGNS)
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=TARGETS)
    options = parser.parse_args()
    choice = random.Random(options.seed)
    num_documents = options.documents or 90 * options.kills + 100
    with tempfile.TemporaryDirectory(prefix="ipt-faults-") as folder:
        config = prepare(Path(folder), num_documents, delay_s=0.5, engine=options.engine)
        drill = Drill(config, Path(folder) / "run", options.seed, options.engine)
        with drill.under_way():
            drill.start_driver()
            while drill.killed.total() < options.kills:
                # One kill in five comes while what the last one killed is still starting.
                if choice.random() < 0.8 and not drill.wait_for_work():
                    print(f"the job ended after {drill.killed.total()} kills", flush=True)
                    break
                time.sleep(choice.uniform(0, 5))
                target = choice.choice(options.targets)
                if drill.kill(target):
                    commits = len(list((Path(folder) / "run/augmented/made-up").glob("*.json")))
                    print(
                        f"kill {drill.killed.total():>3}: {target:<7} {commits} parts committed",
                        flush=True,
                    )
            code, output = finish(drill, timeout_s=1800)
            print(output, flush=True)
            begun, at_risk = drill.num_begun(), drill.at_risk()
        redone = begun.total() - len(begun)
        result = audit(drill.run)
        left = drill.engines()
    kills = ", ".join(f"{target} {count}" for target, count in sorted(drill.killed.items()))
    print(f"kills: {kills}")
    return conclude(
        "faults",
        {
            "kills": at_least(drill.killed.total(), options.kills),
            "lost": at_most(result.lost, 0),
            "duplicated": at_most(result.duplicated, 0),
            "quarantined": at_most(result.quarantined, 0),
            "redone_parts": at_most(redone, at_risk),
            "orphans": at_most(len(left), 0),
            "exit_code": at_most(code, 0),
            "documents": figure(result.documents),
        },
    )


if __name__ == "__main__":
    sys.exit(main())
