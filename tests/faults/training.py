"""Random kills over a training run, and the proof that they made no difference.

    python -m tests.faults train --kills 20

`ipt train` runs on two ranks. Again and again, at a random moment or in the middle of a save, one
of its processes is killed with SIGKILL: a rank, the launcher, `ipt` itself, or all of them at
once; it is started again once none is left. Then it may finish, and its losses and its last
checkpoint are compared with those of a run that nobody disturbed. Exit code 1 unless they are the
same, bit for bit.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path

import psutil

from tests.benchmarks.bars import at_least, at_most, conclude, figure
from tests.packed import random_rows, write_packed
from tests.processes import DRILL, marked_processes, wait_for
from train.checkpoints.marker import CheckpointMarker, tag_of
from train.metrics import read_metrics

TARGETS = ("rank", "launcher", "ipt", "all")
_SIGNS = {"rank": "--local_rank=", "launcher": "deepspeed.launcher.launch", "ipt": "/ipt train"}
_LONGEST_LIFE_S = 18.0
"""A start takes some eight seconds: kills fall before, into and after it."""
_SHARE_IN_SAVES = 0.4


def prepare(folder: Path, name: str, tokenizer: Path) -> Path:
    """The config of a run `name` on made-up rows."""
    from tests.integration.conftest import write_config

    config = write_config(folder, name, tokenizer)
    parts = {
        f"made-up-{route}": [random_rows(200, 64, seed, 250)]
        for seed, route in enumerate(("raw", "augmented"))
    }
    write_packed(folder / name / "rows", parts, 16, str(tokenizer))
    return config


def start(config: Path, settings: list[str]) -> subprocess.Popen[bytes]:
    """`ipt train`, its output in a file beside the config."""
    ipt = str(Path(sys.executable).with_name("ipt"))
    with config.with_suffix(".log").open("ab") as log:
        return subprocess.Popen([ipt, "train", str(config), *settings], stdout=log, stderr=log)


def kill(target: str, mark: str, choice: random.Random) -> bool:
    """Kill what is meant by `target`; False if nothing of it is there."""
    found = marked_processes(mark, _SIGNS.get(target, ""))
    if target != "all" and found:
        found = [choice.choice(found)]
    for process in found:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return bool(found)


def is_saving(run: Path) -> bool:
    """Whether a save has begun that has not ended."""
    names = {path.name for path in (run / "train" / "checkpoints").glob("step-*")}
    return any(not name.endswith(".json") and f"{name}.json" not in names for name in names)


def wait_for_moment(process: subprocess.Popen[bytes], run: Path, choice: random.Random) -> None:
    """Sleep for a random time, or until a save is under way."""
    if choice.random() < _SHARE_IN_SAVES:
        deadline = time.monotonic() + 60
        while process.poll() is None and not is_saving(run) and time.monotonic() < deadline:
            time.sleep(0.0005)
    else:
        time.sleep(choice.uniform(0.5, _LONGEST_LIFE_S))


def main(arguments: list[str]) -> int:
    """Run the drill."""
    from tests.tokenizers import save_tokenizer

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--zero-stage", type=int, default=2)
    options = parser.parse_args(arguments)
    choice, mark = random.Random(options.seed), uuid.uuid4().hex
    os.environ[DRILL] = mark
    num_steps = 300 * options.kills
    settings = [
        f"train.num_steps={num_steps}",
        f"train.zero_stage={options.zero_stage}",
        "train.checkpoint_every=25",
        "train.log_every=100",
    ]
    killed: Counter[str] = Counter()
    num_saving, num_stuck = 0, 0
    with tempfile.TemporaryDirectory(prefix="ipt-faults-") as name:
        folder = Path(name)
        tokenizer = save_tokenizer(folder / "tokenizer")
        calm = prepare(folder, "calm", tokenizer)
        if start(calm, settings).wait():
            sys.exit(f"the undisturbed run failed:\n{calm.with_suffix('.log').read_text()[-2000:]}")
        config, run = prepare(folder, "killed", tokenizer), folder / "killed"
        while killed.total() < options.kills:
            process = start(config, settings)
            wait_for_moment(process, run, choice)
            if process.poll() == 0:
                print(f"the run ended after {killed.total()} kills", flush=True)
                break
            target = choice.choice(TARGETS)
            if not kill(target, mark, choice):
                target = "ipt"
                kill(target, mark, choice)
            killed[target] += 1
            if not wait_for(lambda: not marked_processes(mark), 60):
                num_stuck += 1
                for pid in marked_processes(mark):
                    psutil.Process(pid).kill()
            process.wait()
            num_saving += is_saving(run)
            done = len(read_metrics(str(run / "train" / "metrics.jsonl")))
            print(f"kill {killed.total():>3}: {target:<8} at step {done}", flush=True)
        code = start(config, settings).wait()
        print(config.with_suffix(".log").read_text()[-600:], flush=True)
        lines = {
            each: read_metrics(str(folder / each / "train" / "metrics.jsonl"))
            for each in ("calm", "killed")
        }
        last = [
            CheckpointMarker.model_validate_json(
                (folder / each / "train" / "checkpoints" / f"{tag_of(num_steps)}.json").read_bytes()
            )
            for each in lines
        ]
    keys = ("step", "loss", "grad_norm", "data/rows")
    found = {name: [[line[key] for key in keys] for line in each] for name, each in lines.items()}
    others = sum(a != b for a, b in zip(found["calm"], found["killed"], strict=False))
    print("kills: " + ", ".join(f"{target} {count}" for target, count in sorted(killed.items())))
    return conclude(
        "faults_train",
        {
            "kills": at_least(killed.total(), options.kills),
            "steps_that_differ": at_most(others, 0),
            "steps_lost_or_twice": at_most(abs(len(found["killed"]) - num_steps), 0),
            "last_checkpoint_differs": at_most(last[0].sidecars != last[1].sidecars, 0),
            "processes_left_after_a_minute": at_most(num_stuck, 0),
            "exit_code": at_most(code, 0),
            "kills_in_a_save": figure(num_saving),
            "steps": figure(num_steps),
        },
    )
