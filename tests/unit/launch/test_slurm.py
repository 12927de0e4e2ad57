"""The batch script: its text, what shellcheck says of it, and what it does with each exit code.

It is executed with stand-ins of Slurm's and Ray's commands, and of `ipt`, on PATH: `srun` starts as
many processes here as it is asked for nodes, and all note how they were called.
"""

import json
import os
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch.cli import app
from launch.references import invocation_of
from launch.slurm import SlurmJob, render_script
from pipeline.errors import InputError
from tests.processes import wait_for

GOLDEN = Path(__file__).parents[2] / "golden" / "slurm"
RUN = "/shared/my runs/it's $HOME"
OVERRIDES = [f"run.dir={RUN}", "eval.prompt=a \"b\" 'c' `d` $(touch pwned) \\ \n* e"]
JOB = SlurmJob("train", nodes=2, gpus_per_node=2, cpus_per_task=4, bin="/opt/ipt/bin")
SHELLCHECK = Path(sys.executable).with_name("shellcheck")
STAGES = ("ingest", "synth", "filter", "pack", "train", "export", "eval", "run")

SRUN = """#!/usr/bin/env bash
printf '%s\\0' "$@" >"$CALLS/srun.$$"
while [[ "$1" == --* ]]; do
  [[ "$1" == --nodes=* ]] && nodes="${1#*=}"
  shift
done
most=0 pids=()
for ((node = 0; node < nodes; node++)); do
  SLURM_NODEID="$node" "$@" &
  pids+=("$!")
done
for pid in "${pids[@]}"; do
  wait "$pid"
  code="$?"
  ((code > most)) && most="$code"
done
exit "$most"
"""
SCONTROL = """#!/usr/bin/env bash
if [ "$1 $2" = "show hostnames" ]; then
  printf 'node-a\\nnode-b\\nnode-c\\n'
else
  printf '%s\\n' "$*" >>"$CALLS/requeued"
fi
"""
RAY = """#!/usr/bin/env bash
printf '%s\\0' "$@" >"$CALLS/ray.$SLURM_NODEID"
[ "$SLURM_NODEID" = 0 ] || exit 0  # a node of the cluster, which ends with it
[ -e "$CALLS/ray-fails" ] && exit 0
stat -c %a "$RAY_AUTH_TOKEN_PATH" >"$CALLS/token-mode"
wc -c <"$RAY_AUTH_TOKEN_PATH" >"$CALLS/token-size"
while [ "$1" != -- ]; do shift; done
shift
"$@"
"""
IPT = f"""#!{sys.executable}
import json, os, signal, sys, time
from pathlib import Path
calls = Path(os.environ["CALLS"])
node = os.environ["SLURM_NODEID"]
number = len(list(calls.glob("ipt.*")))
names = ("MASTER_ADDR", "MASTER_PORT", "SLURM_NODEID", "RAY_ADDRESS", "RAY_AUTH_MODE")
seen = {{name: os.environ.get(name, "") for name in names}}
(calls / f"ipt.{{time.monotonic_ns()}}.{{node}}").write_text(json.dumps([sys.argv[1:], seen]))
if (calls / "waits").exists():
    signal.signal(signal.SIGTERM, lambda *_: (calls / f"asked.{{node}}").touch())
    (calls / f"ready.{{node}}").touch()
    while not (calls / "asked.0").exists():  # ranks agree: asking one is asking all
        time.sleep(0.05)
    asked_code = calls / "asked-code"
    sys.exit(int(asked_code.read_text()) if asked_code.exists() else 75)
codes = calls / f"codes.{{node}}"
sys.exit(int(codes.read_text()) if codes.exists() else 0)
"""


def rendered(job: SlurmJob = JOB, *overrides: str) -> str:
    settings = [*OVERRIDES, *overrides]
    invocation = invocation_of("quickstart", settings)
    return render_script(job, invocation.config, "quickstart", settings, "my job.sbatch")


class Cluster:
    """A folder with the stand-ins, and a script of a job for it."""

    def __init__(self, folder: Path) -> None:
        self.calls, self.bin = folder / "calls", folder / "bin dir"
        self.run, self.script = folder / "my run", folder / "job.sbatch"
        for made in (self.calls, self.bin, self.run):
            made.mkdir()
        for name, text in {"srun": SRUN, "scontrol": SCONTROL, "ray": RAY, "ipt": IPT}.items():
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)
        self.environment = {
            **os.environ,
            "CALLS": str(self.calls),
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "71234",
            "SLURM_JOB_NODELIST": "node-[a-c]",
        }
        self.settings = [f"run.dir={self.run}", *OVERRIDES[1:]]

    def write(self, job: SlurmJob) -> None:
        config = invocation_of("quickstart", self.settings).config
        job = replace(job, bin=str(self.bin))
        self.script.write_text(render_script(job, config, "quickstart", self.settings))

    def end_with(self, *codes: int) -> None:
        for node, code in enumerate(codes):
            (self.calls / f"codes.{node}").write_text(str(code))

    def start(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", self.script],
            env=self.environment,
            cwd=self.calls,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def asked(self) -> list[tuple[list[str], dict[str, str]]]:
        """Arguments and environment of each `ipt`, in the order in which they began."""
        return [tuple(json.loads(path.read_text())) for path in sorted(self.calls.glob("ipt.*"))]

    def num_requeued(self) -> int:
        noted = self.calls / "requeued"
        lines = noted.read_text().splitlines() if noted.exists() else []
        assert set(lines) <= {"requeue 71234"}
        return len(lines)

    @property
    def state(self) -> Path:
        return self.run / "logs/slurm/71234"


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


@pytest.mark.parametrize("stage", ["train", "synth", "run"])
def test_the_script_is_the_golden_one(stage: str, update_golden: bool) -> None:
    job = replace(JOB, stage=stage, partition="big", account="lab", time="2-00:00:00")
    script, golden = rendered(job), GOLDEN / f"{stage}.sh"
    if update_golden:
        golden.write_text(script)
    assert script == golden.read_text()


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("gpus", [0, 8])
def test_shells_and_shellcheck_have_nothing_to_say(stage: str, gpus: int) -> None:
    script = rendered(replace(JOB, stage=stage, gpus_per_node=gpus, nodes=3))
    for command in (["bash", "-n"], [str(SHELLCHECK), "--shell=bash", "-"]):
        done = subprocess.run(command, input=script, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_shellcheck_would_say_something() -> None:
    broken = rendered().replace('"$state/record.sh"', "$state/record.sh")
    done = subprocess.run([str(SHELLCHECK), "-"], input=broken, capture_output=True, text=True)
    assert "SC2086" in done.stdout


def test_every_node_runs_training_with_the_very_settings(cluster: Cluster) -> None:
    cluster.write(JOB)
    done = cluster.start()
    assert done.returncode == 0, done.stdout + done.stderr
    asked = cluster.asked()
    assert sorted(seen["SLURM_NODEID"] for _, seen in asked) == ["0", "1"]
    for arguments, seen in asked:
        assert arguments == ["submit", "train", "quickstart", *cluster.settings, "--no_ssh"]
        assert seen["MASTER_PORT"] == str(20000 + 71234 % 10000)
        assert seen["MASTER_ADDR"] == asked[0][1]["MASTER_ADDR"]
    assert cluster.num_requeued() == 0
    assert not cluster.state.exists()
    assert not (cluster.calls / "pwned").exists()
    called = next(cluster.calls.glob("srun.*")).read_text()
    assert "--nodelist=node-a,node-b\0" in called
    assert "--ntasks=2\0" in called


def test_each_command_is_said_so_that_it_can_be_typed(cluster: Cluster) -> None:
    cluster.write(JOB)
    said = next(line for line in cluster.start().stdout.splitlines() if line.startswith("+ srun"))
    typed = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {said.removeprefix('+ srun')}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert typed.stdout == next(cluster.calls.glob("srun.*")).read_text()


@pytest.mark.parametrize(
    ("codes", "code", "num_requeued"),
    [
        ((75, 75), 0, 1),
        ((70, 143), 0, 1),
        ((1, 1), 0, 1),
        ((0, 137), 0, 1),
        ((2, 2), 2, 0),
        ((143, 2), 2, 0),
        ((0, 0), 0, 0),
    ],
)
def test_what_may_go_on_is_requeued_and_bad_input_never(
    codes: tuple[int, int], code: int, num_requeued: int, cluster: Cluster
) -> None:
    cluster.write(JOB)
    cluster.end_with(*codes)
    done = cluster.start()
    assert done.returncode == code, done.stdout + done.stderr
    assert cluster.num_requeued() == num_requeued


def test_failures_in_a_row_end_a_job_and_a_stop_in_order_is_none(cluster: Cluster) -> None:
    cluster.write(JOB)
    for codes, code, num_requeued in [
        ((1, 1), 0, 1),
        ((70, 70), 0, 2),
        ((75, 75), 0, 3),
        ((1, 1), 0, 4),
        ((1, 1), 0, 5),
        ((70, 1), 70, 5),
    ]:
        cluster.end_with(*codes)
        done = cluster.start()
        assert (done.returncode, cluster.num_requeued()) == (code, num_requeued), done.stdout
    assert "3 failures in a row" in done.stdout


@pytest.mark.parametrize("code", [75, 130, 1])
def test_before_the_limit_the_first_node_alone_is_asked_to_save(
    code: int, cluster: Cluster
) -> None:
    cluster.write(JOB)
    (cluster.calls / "waits").touch()
    (cluster.calls / "asked-code").write_text(str(code))
    process = subprocess.Popen(
        ["bash", cluster.script], env=cluster.environment, cwd=cluster.calls, stdout=subprocess.PIPE
    )
    try:
        assert wait_for(lambda: len(list(cluster.calls.glob("ready.*"))) == 2)
        process.send_signal(signal.SIGUSR1)
        output = process.communicate(timeout=30)[0].decode()
    finally:
        process.kill()
    assert process.returncode == 0, output
    assert f"exit code {code}" in output
    assert cluster.num_requeued() == 1
    assert not (cluster.state / "failures").exists(), "a limit is no failure"
    assert (cluster.calls / "asked.0").exists()
    assert not (cluster.calls / "asked.1").exists()


def test_synthesis_runs_on_the_head_of_a_ray_cluster(cluster: Cluster) -> None:
    cluster.write(replace(JOB, stage="synth", nodes=3))
    done = cluster.start()
    assert done.returncode == 0, done.stdout + done.stderr
    [(arguments, seen)] = cluster.asked()
    assert arguments == ["synth", "quickstart", *cluster.settings]
    assert seen["RAY_ADDRESS"] == f"{seen['MASTER_ADDR']}:{seen['MASTER_PORT']}"
    assert seen["RAY_AUTH_MODE"] == "token"
    assert (cluster.calls / "token-mode").read_text().strip() == "600"
    assert (cluster.calls / "token-size").read_text().strip() == "64"
    assert len(list(cluster.calls.glob("ray.*"))) == 3
    called = (cluster.calls / "ray.2").read_text().split("\0")
    assert called[:5] == ["symmetric-run", "--address", seen["RAY_ADDRESS"], "--min-nodes", "3"]
    assert called[5:9] == ["--num-cpus", "4", "--num-gpus", "2"]


def test_a_ray_cluster_that_does_not_start_is_a_failure(cluster: Cluster) -> None:
    cluster.write(replace(JOB, stage="synth"))
    (cluster.calls / "ray-fails").touch()
    done = cluster.start()
    assert "Ray's cluster did not start" in done.stdout
    assert not cluster.asked()
    assert cluster.num_requeued() == 1
    assert not (cluster.state / "ray-token").exists()


def test_a_run_does_all_stages_in_order_and_ends_at_the_first_that_fails(cluster: Cluster) -> None:
    cluster.write(replace(JOB, stage="run"))
    assert cluster.start().returncode == 0
    stages = [arguments[:2] for arguments, _ in cluster.asked()]
    assert [first for first, *_ in stages] == [
        *("ingest", "synth", "filter", "pack", "submit", "submit", "export", "eval")
    ]
    before = len(stages)
    cluster.end_with(2)
    assert cluster.start().returncode == 2
    assert len(cluster.asked()) == before + 1


@pytest.mark.parametrize(
    ("changes", "setting", "message"),
    [
        ({"nodes": 0}, "", r"--nodes 0: must be at least 1"),
        ({"gpus_per_node": -1}, "", r"--gpus-per-node -1: must be at least 0"),
        ({"gpus_per_node": 1}, "", r"train.num_ranks \(2\) must be at most --gpus-per-node \(1\)"),
        ({"save_before_s": 0}, "", r"--save-before 0: must be at least 1"),
        ({"time": "a day"}, "", r"--time 'a day': must be minutes"),
        ({"time": "1:2:3:4"}, "", r"--time '1:2:3:4'"),
        ({"time": "1:99:99"}, "", r"--time '1:99:99'"),
        ({"time": "2"}, "", r"--time 2 is 120 s"),
        ({"time": "2-00", "save_before_s": 70_000}, "", r"at most 65,535"),
        ({"partition": "a\n#SBATCH --uid=0"}, "", r"--partition .*: may hold letters"),
        ({"account": "-x"}, "", r"--account '-x'"),
        ({"stage": "trian"}, "", r"--stage 'trian': there are ingest, synth"),
        ({}, "run.dir=runs/mine", r"run.dir \(runs/mine\) is relative"),
        ({}, "run.dir=s3://bucket/run", r"training needs a file system that all nodes share"),
        ({"stage": "synth"}, "run.dir=s3://bucket/run", r"give --state"),
        ({"state": "here"}, "", r"--state here: is relative"),
    ],
)
def test_values_that_cannot_work_are_refused(changes, setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rendered(replace(JOB, **changes), *filter(None, [setting]))


def test_a_bucket_goes_with_a_state_folder() -> None:
    job = replace(JOB, stage="synth", state="/shared/state")
    assert "state=/shared/state/" in rendered(job, "run.dir=s3://bucket/run")


def test_the_command_writes_the_file_and_a_dry_run_does_not(tmp_path: Path) -> None:
    path = tmp_path / "my job.sbatch"
    arguments = ["slurm", "render", "quickstart", f"run.dir={tmp_path}", "--stage", "train"]
    done = CliRunner().invoke(app, [*arguments, "-o", str(path), "--dry-run"])
    assert (done.exit_code, path.exists()) == (0, False)
    done = CliRunner().invoke(app, [*arguments, "-o", str(path)])
    assert done.exit_code == 0, done.output
    assert f"hand in with: sbatch '{path}'" in done.output
    assert path.read_text() in CliRunner().invoke(app, arguments).output.replace(
        "SCRIPT", f"'{path}'"
    )
    assert stat.S_IMODE(path.stat().st_mode) & 0o400
    done = CliRunner().invoke(app, [*arguments, "--nodes", "0"])
    assert done.exit_code == 2
