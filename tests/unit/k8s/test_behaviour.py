"""What a cluster does with the jobs when pods go: retries, grace, restarts."""

import os
import re
import shutil
import subprocess
import threading

import pytest

from tests.manifests import K8S, OVERLAYS, build, needs_kubectl, only

pytestmark = needs_kubectl
needs_pgrep = pytest.mark.skipif(shutil.which("pgrep") is None, reason="no pgrep on this machine")
DRIVER = "/opt/ipt/bin/python3 /opt/ipt/bin/ipt synth /etc/ipt/run.toml"


def stage(overlay: str, name: str, kind: str):
    return only(build(K8S / "overlays" / overlay / name), kind)


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("name", ["synth", "pack"])
def test_a_lost_head_makes_a_new_cluster(overlay: str, name: str) -> None:
    spec = stage(overlay, name, "RayJob")["spec"]
    assert spec["backoffLimit"] > 0
    assert spec["shutdownAfterJobFinishes"] is True  # Kueue asks for it, too
    assert spec["ttlSecondsAfterFinished"] > 0
    assert spec["entrypoint"] == f"ipt {name} /etc/ipt/run.toml"
    # The submitter hands it on through a shell, which would take these for its own.
    assert not re.search(r"[;&|<>]", spec["entrypoint"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_of_synthesis_get_the_time_to_commit(overlay: str) -> None:
    cluster = stage(overlay, "synth", "RayJob")["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        container = pod["containers"][0]
        grace_s = {each["name"]: each.get("value") for each in container["env"]}["IPT_STOP_GRACE_S"]
        assert pod["terminationGracePeriodSeconds"] == int(grace_s) + 30
        assert "IPT_STOP_GRACE_S" in container["lifecycle"]["preStop"]["exec"]["command"][-1]


def test_the_hooks_find_the_processes_that_they_wait_for_and_not_themselves() -> None:
    cluster = stage("gpu", "synth", "RayJob")["spec"]["rayClusterSpec"]
    groups = (cluster["headGroupSpec"], cluster["workerGroupSpecs"][0])
    for group, process in zip(groups, (DRIVER, "ray::SynthWorker.run"), strict=True):
        hook = group["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["exec"]
        script = hook["command"][-1]
        patterns = set(re.findall(r"-f '([^']+)'", script))
        assert len(patterns) == 1
        assert re.search(patterns.pop(), process)
        for pattern in re.findall(r"-f '([^']+)'", script):
            assert not re.search(pattern, " ".join(hook["command"]))


def run_hook(group, process: str, body: str, grace_s: int) -> tuple[int, bool]:
    """Run a group's hook beside such a process; its exit code, and whether that lives on."""
    hook = group["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    # A name of its own: real jobs may be running on this machine.
    (pattern,) = set(re.findall(r"-f '([^']+)'", hook[-1]))
    name = f"{process}-{os.getpid()}"
    script = hook[-1].replace(pattern, f"[{name[0]}]{name[1:]}")
    command = ["bash", "-c", f"{body} # {name}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "ready\n"
            threading.Thread(target=running.wait, daemon=True).start()  # or it stays, as a zombie
            environment = os.environ | {"IPT_STOP_GRACE_S": str(grace_s)}
            done = subprocess.run([*hook[:-1], script], env=environment, check=False)
            return done.returncode, running.poll() is None
        finally:
            running.kill()


@needs_pgrep
def test_a_heads_hook_asks_the_driver_to_end_and_waits_for_it() -> None:
    cluster = stage("gpu", "synth", "RayJob")["spec"]["rayClusterSpec"]
    ends_in_order = "trap 'sleep 2; exit 75' TERM; echo ready; while :; do sleep 0.1; done"
    assert run_hook(cluster["headGroupSpec"], "driver", ends_in_order, 60) == (0, False)


@needs_pgrep
def test_a_workers_hook_waits_no_longer_than_the_grace() -> None:
    cluster = stage("gpu", "synth", "RayJob")["spec"]["rayClusterSpec"]
    (group,) = cluster["workerGroupSpecs"]
    assert run_hook(group, "worker", "echo ready; sleep 2; :", 60) == (0, False)
    assert run_hook(group, "worker", "echo ready; sleep 20; :", 1) == (0, True)


def test_synthesis_scales_from_a_worker_that_is_there() -> None:
    cluster = stage("gpu", "synth", "RayJob")["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    assert 1 <= workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    assert workers["maxReplicas"] > workers["minReplicas"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_rays_version_is_the_pinned_one() -> None:
    pins = [(K8S.parent / f"constraints-{kind}.txt").read_text("utf-8") for kind in ("cpu", "gpu")]
    for name in ("synth", "pack"):
        version = stage("gpu", name, "RayJob")["spec"]["rayClusterSpec"]["rayVersion"]
        assert all(f"\nray=={version}\n" in text for text in pins)


def rules_of(job_set):
    """Which action follows for a Job that failed with a reason and a message."""
    policy = job_set["failurePolicy"]

    def action(reason: str, message: str) -> str:
        for rule in policy["rules"]:
            patterns = rule.get("onJobFailureMessagePatterns", [""])
            if reason in rule["onJobFailureReasons"] and any(
                re.search(pattern, message) for pattern in patterns
            ):
                return rule["action"]
        return "RestartJobSet"

    return action


def job_sets():
    """The JobSet that ships, and the one behind a TrainJob."""
    runtime = only(build(K8S / "kubeflow"), "ClusterTrainingRuntime")
    return [stage("spot", "train", "JobSet")["spec"], runtime["spec"]["template"]["spec"]]


@pytest.mark.parametrize("job_set", [0, 1], ids=["jobset", "kubeflow"])
def test_training_restarts_as_a_whole_and_by_the_reason(job_set: int) -> None:
    spec = job_sets()[job_set]
    assert spec["failurePolicy"]["restartStrategy"] == "BlockingRecreate"
    assert spec["failurePolicy"]["maxRestarts"] > 0
    action = rules_of(spec)
    failed = "Container node for pod a/b failed with exit code {} matching FailJob rule at index {}"
    disrupted = "Pod a/b has condition DisruptionTarget matching FailJob rule at index 0"
    assert action("PodFailurePolicy", failed.format(2, 1)) == "FailJobSet"
    again = "RestartJobSetAndIgnoreMaxRestarts"
    assert action("PodFailurePolicy", failed.format(75, 2)) == again
    assert action("PodFailurePolicy", disrupted) == again
    assert action("BackoffLimitExceeded", "Job has reached the backoff limit") == "RestartJobSet"


@pytest.mark.parametrize("job_set", [0, 1], ids=["jobset", "kubeflow"])
def test_a_rank_that_goes_fails_its_job_at_once(job_set: int) -> None:
    (job,) = job_sets()[job_set]["replicatedJobs"]
    spec = job["template"]["spec"]
    assert (job["replicas"], spec["backoffLimit"], spec["completionMode"]) == (1, 0, "Indexed")
    rules = spec["podFailurePolicy"]["rules"]
    assert {rule["action"] for rule in rules} == {"FailJob"}
    assert "onPodConditions" in rules[0]  # before exit codes: a drained pod ends with 75, too
    codes = [code for rule in rules[1:] for code in rule["onExitCodes"]["values"]]
    assert codes == [2, 75]


def test_training_starts_its_part_on_every_node() -> None:
    job_set = stage("spot", "train", "JobSet")
    (job,) = job_set["spec"]["replicatedJobs"]
    spec = job["template"]["spec"]
    assert spec["completions"] == spec["parallelism"] == 2
    container = spec["template"]["spec"]["containers"][0]
    assert container["command"] == ["ipt", "submit", "train", "/etc/ipt/run.toml", "--no_ssh"]
    first = f"{job_set['metadata']['name']}-{job['name']}-0-0"
    assert container["args"] == [
        "--num_nodes=2",
        f"--master_addr={first}.{job_set['spec']['network']['subdomain']}",
        "--master_port=29500",
    ]


@pytest.mark.parametrize("name", ["ingest", "filter", "export"])
def test_bad_input_is_not_tried_again(name: str) -> None:
    spec = stage("gpu", name, "Job")["spec"]
    actions = {
        str(rule.get("onExitCodes", {}).get("values", "disrupted")): rule["action"]
        for rule in spec["podFailurePolicy"]["rules"]
    }
    assert actions == {"[2]": "FailJob", "disrupted": "Ignore"}
    assert spec["backoffLimit"] > 0


def test_spot_takes_workers_and_ranks_but_no_head() -> None:
    cluster = stage("spot", "synth", "RayJob")["spec"]["rayClusterSpec"]
    places = [
        group["template"]["spec"]["affinity"]["nodeAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]["nodeSelectorTerms"][0]["matchExpressions"][0]["operator"]
        for group in (cluster["headGroupSpec"], cluster["workerGroupSpecs"][0])
    ]
    assert places == ["NotIn", "In"]
    keys = [
        each["key"] for each in cluster["workerGroupSpecs"][0]["template"]["spec"]["tolerations"]
    ]
    assert keys == ["nvidia.com/gpu", "instruct-pretrain/capacity"]
