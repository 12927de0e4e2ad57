"""DeepSpeed on two hosts: started on each of them or over ssh, cut off, stopped, switched off."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.hosts import Host, can_have_hosts, hosts_on_a_network, serve_ssh
from tests.faults.training import prepare
from tests.integration.conftest import run_ipt
from tests.processes import wait_for
from train.metrics import read_metrics

pytestmark = [pytest.mark.cluster, pytest.mark.deepspeed, pytest.mark.slow]
NO_SSH = can_have_hosts(with_ssh=True)
STEPS = 800
SETTINGS = [
    f"train.num_steps={STEPS}",
    "train.checkpoint_every=20",
    "train.log_every=1000",
    "train.watchdog_s=15",
]
RANK = "pretrain.py --local_rank="
A_CUT = {1, 70}
"""A rank ends by the watchdog, or by the error of a connection that the kernel gave up."""


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    if reason := can_have_hosts():
        pytest.skip(reason)
    with hosts_on_a_network(3, DS_ACCELERATOR="cpu", OMP_NUM_THREADS="1") as found:
        yield found


@pytest.fixture
def runs(tmp_path: Path, tokenizer_folder: Path) -> tuple[Path, Path]:
    """Configs of the same run twice; the first one is trained here by two ranks, undisturbed."""
    calm, drilled = (prepare(tmp_path, name, tokenizer_folder) for name in ("calm", "drilled"))
    run_ipt("train", str(calm), *SETTINGS)
    return calm, drilled


def steps_of(config: Path) -> list[tuple[int, float]]:
    lines = read_metrics(str(config.with_suffix("") / "train" / "metrics.jsonl"))
    return [(line["step"], line["loss"]) for line in lines]


def start_shares(hosts: list[Host], config: Path) -> list[subprocess.Popen[str]]:
    """Each host's part, as pods and Slurm start it."""
    return [
        host.start(
            *("ipt", "submit", "train", str(config), *SETTINGS, "train.num_ranks=1", "--no_ssh"),
            *(f"--num_nodes={len(hosts)}", "--master_addr=host-0"),
            log=config.with_suffix(f".{host.name}"),
            variables={"JOB_COMPLETION_INDEX": str(number)},
        )
        for number, host in enumerate(hosts)
    ]


def reaches(config: Path, step: int) -> bool:
    return wait_for(lambda: len(steps_of(config)) >= step, 120)


def said(config: Path) -> str:
    return "".join(path.read_text() for path in sorted(config.parent.glob(f"{config.stem}.host*")))


def ranks_on(hosts: list[Host]) -> str:
    """Process ids of ranks, as each host numbers them."""
    return "".join(host.run("pgrep", "-f", "--", RANK, check=False).stdout for host in hosts)


def assert_undisturbed(calm: Path, drilled: Path) -> None:
    expected, found = steps_of(calm), steps_of(drilled)
    assert [step for step, _ in found] == list(range(1, STEPS + 1)), "a step lost or done twice"
    assert [loss for _, loss in found] == pytest.approx([loss for _, loss in expected], abs=1e-5)


def test_each_host_starts_its_part_and_a_host_may_be_cut_off_stopped_or_lost(
    hosts: list[Host], runs: tuple[Path, Path]
) -> None:
    (calm, drilled), pair = runs, hosts[:2]
    programs = start_shares(pair, drilled)
    assert reaches(drilled, 50), said(drilled)
    hosts[1].cut()
    assert {program.wait(timeout=120) for program in programs} <= A_CUT, said(drilled)
    assert "a rank hung" in said(drilled) or "watchdog" in said(drilled), said(drilled)
    stood_at = len(steps_of(drilled))
    assert stood_at < STEPS

    hosts[1].join()
    programs = start_shares(pair, drilled)
    assert reaches(drilled, stood_at + 40), said(drilled)
    hosts[1].signal("TERM", "ipt submit train")
    assert [program.wait(timeout=60) for program in programs] == [75, 75], said(drilled)
    stood_at = len(steps_of(drilled))
    assert stood_at < STEPS

    programs = start_shares(pair, drilled)
    assert reaches(drilled, stood_at + 40), said(drilled)
    hosts[1].power_off()
    assert programs[0].wait(timeout=120) in A_CUT, said(drilled)
    assert len(steps_of(drilled)) < STEPS

    hosts[1].boot()
    programs = start_shares(pair, drilled)
    assert [program.wait(timeout=180) for program in programs] == [0, 0], said(drilled)
    assert_undisturbed(calm, drilled)
    assert [program.wait(timeout=60) for program in start_shares(pair, drilled)] == [0, 0]
    assert said(drilled).count("complete already") == 2


@pytest.mark.skipif(NO_SSH != "", reason=NO_SSH)
def test_one_command_trains_on_the_hosts_of_a_hostfile(
    hosts: list[Host], runs: tuple[Path, Path], tmp_path: Path
) -> None:
    calm, drilled = runs
    serve_ssh(hosts)
    hostfile = tmp_path / "hosts.txt"
    hostfile.write_text("# two hosts\nhost-0 slots=1\nhost-1 slots=1\n")
    command = ("ipt", "submit", "train", str(drilled), *SETTINGS, "--hostfile", str(hostfile))
    starter, log = hosts[2], drilled.with_suffix(".host-2")
    program = starter.start(*command, log=log)
    assert reaches(drilled, 50), said(drilled)
    starter.signal("TERM", "bin/ipt submit train")
    assert program.wait(timeout=60) == 75, said(drilled)
    stood_at = len(steps_of(drilled))

    program = starter.start(*command, log=log)
    assert reaches(drilled, stood_at + 40), said(drilled)
    hosts[1].cut()
    assert program.wait(timeout=180) not in (0, 75), said(drilled)
    hosts[1].join()

    program = starter.start(*command, log=log)
    assert wait_for(lambda: ranks_on(hosts[1:2]), 60), said(drilled)
    hosts[0].power_off()  # while the other rank looks for the one that was on it
    assert program.wait(timeout=150) not in (0, 75), said(drilled)
    assert "lost host-0" in said(drilled)
    assert not ranks_on(hosts[1:2])
    hosts[0].boot()
    serve_ssh(hosts[:1])
    stood_at = len(steps_of(drilled))

    starter.start(*command, log=log)
    assert reaches(drilled, stood_at + 40), said(drilled)
    starter.signal("KILL", "bin/ipt submit train")
    assert wait_for(lambda: not ranks_on(hosts[:2]), 60), "ranks went on without their starter"
    hosts[1].cut()
    refused = starter.run(*command, check=False)
    assert refused.returncode == 1, refused.stderr
    assert "run again once it is back" in refused.stderr
    hosts[1].join()
    stood_at = len(steps_of(drilled))

    starter.start(*command, log=log)
    assert reaches(drilled, stood_at + 40), said(drilled)
    starter.power_off()
    starter.boot()
    serve_ssh([starter])
    assert "resumed from step" in starter.run(*command).stdout, "they stopped for this start"
    assert_undisturbed(calm, drilled)
