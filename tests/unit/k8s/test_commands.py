"""The very commands that pods run are ones that this version of `ipt` takes."""

import shlex

import pytest
from typer.testing import CliRunner

from launch.cli import app
from tests.manifests import K8S, OVERLAYS, build, needs_kubectl, only

pytestmark = needs_kubectl
IN_POD = "/etc/ipt/run.toml"


def dry_run(command: list[str], overlay: str, environment: dict[str, str] | None = None) -> str:
    """Run a pod's command without effect, on the config that the pod would see."""
    config = str(K8S / "overlays" / overlay / "run.toml")
    assert command[0] == "ipt"
    assert IN_POD in command
    arguments = [config if each == IN_POD else each for each in command[1:]]
    done = CliRunner(env=environment).invoke(app, [*arguments, "--dry-run"])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("stage", ["ingest", "filter", "export"])
def test_jobs(overlay: str, stage: str) -> None:
    job = only(build(K8S / "overlays" / overlay / stage), "Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert "would write /mnt/runs/" in dry_run(container["command"], overlay)


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("stage", ["synth", "pack"])
def test_ray_jobs(overlay: str, stage: str) -> None:
    job = only(build(K8S / "overlays" / overlay / stage), "RayJob")
    assert "would write /mnt/runs/" in dry_run(shlex.split(job["spec"]["entrypoint"]), overlay)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_training_by_a_job_set(overlay: str) -> None:
    job_set = only(build(K8S / "overlays" / overlay / "train"), "JobSet")
    pod = job_set["spec"]["replicatedJobs"][0]["template"]["spec"]
    (container,) = pod["template"]["spec"]["containers"]
    last = str(pod["completions"] - 1)
    shown = dry_run(
        [*container["command"], *container["args"]], overlay, {"JOB_COMPLETION_INDEX": last}
    )
    assert f"--node_rank={last}" in shown
    assert "--master_addr=train-ranks-0-0.train" in shown


def test_training_by_a_train_job() -> None:
    command = only(build(K8S / "stages" / "train-kubeflow"), "TrainJob")["spec"]["trainer"][
        "command"
    ]
    environment = {
        "PET_NNODES": "2",
        "PET_NODE_RANK": "1",
        "PET_MASTER_ADDR": "train-node-0-0.train",
        "PET_MASTER_PORT": "29400",
    }
    shown = dry_run(command, "spot", environment)
    for option in ("--node_rank=1", "--master_addr=train-node-0-0.train", "--master_port=29400"):
        assert option in shown
