"""Hosts of a training run, and the command lines that start ranks on them."""

import os
import shlex
import stat
from pathlib import Path

import pytest

from launch.deepspeed import plan_launch
from launch.over_ssh import OverSsh, take_over
from launch.placement import HostShare, OneHost
from pipeline.errors import InputError, JobFailedError
from pipeline.process import GUESSED_ACCELERATOR


def command_of(placement, logs: Path) -> list[str]:
    """The launcher's options, up to the script."""
    command = plan_launch(placement, str(logs), "my run.toml", ["train.num_steps=3"]).command
    script = next(index for index, part in enumerate(command) if part.endswith("pretrain.py"))
    assert command[script + 1 :] == ["my run.toml", "train.num_steps=3"]
    return command[1:script]


def write_hosts(folder: Path, text: str) -> Path:
    path = folder / "hosts.txt"
    path.write_text(text)
    return path


def test_one_host_needs_no_file(tmp_path: Path) -> None:
    options = command_of(OneHost(4), tmp_path)
    assert options[0] == "--num_accelerators=4"
    assert list(tmp_path.iterdir()) == []


def test_a_share_says_where_hosts_meet_and_numbers_its_ranks(tmp_path: Path) -> None:
    share = HostShare(8, num_nodes=3, node_rank=2, master_addr="train-0", master_port=1234)
    share.check([])
    options = command_of(share, tmp_path)
    assert options[1:] == [
        "--no_ssh",
        "--node_rank=2",
        "--master_addr=train-0",
        "--master_port=1234",
    ]
    assert not list(tmp_path.iterdir()), "planning writes nothing"
    assert share.prepare({}, str(tmp_path)) == {}
    hostfile = Path(options[0].removeprefix("--hostfile="))
    assert hostfile.read_text() == "host-0 slots=8\nhost-1 slots=8\nhost-2 slots=8\n"
    assert (share.first_rank, share.num_local_ranks, share.log_name) == (16, 8, "train-2.log")


@pytest.mark.parametrize(
    ("num_nodes", "node_rank", "master_addr", "said"),
    [
        (0, 0, "a", "--num_nodes (0)"),
        (2, 2, "a", "must be from 0 to 1"),
        (2, -1, "a", "--node_rank (-1)"),
        (2, 1, "", "--master_addr is missing"),
    ],
)
def test_numbers_that_do_not_go_together_are_refused(
    num_nodes: int, node_rank: int, master_addr: str, said: str
) -> None:
    with pytest.raises(InputError) as error:
        HostShare(1, num_nodes, node_rank, master_addr).check([])
    assert said in str(error.value)


def test_a_hostfile_is_read_as_deepspeed_reads_it(tmp_path: Path) -> None:
    path = write_hosts(tmp_path, "# ours\n\nworker-1 slots=8\nuser@10.0.0.2   slots=4 # half\n")
    assert OverSsh(path).hosts == {"worker-1": 8, "user@10.0.0.2": 4}
    from deepspeed.launcher.runner import fetch_hostfile

    assert dict(fetch_hostfile(str(path))) == OverSsh(path).hosts


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no host"),
        ("worker-1\n", "line 1: 'worker-1' is no host"),
        ("worker-1 slots=0\n", "is no host"),
        ("a slots=1\na slots=2\n", "line 2: 'a slots=2' is there twice"),
    ],
)
def test_a_hostfile_that_is_none_is_refused_by_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        _ = OverSsh(write_hosts(tmp_path, text)).hosts
    assert said in str(error.value)


def stand_in(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of programs that there is."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_hosts_that_do_not_answer_are_named(tmp_path: Path, programs: Path) -> None:
    placement = OverSsh(write_hosts(tmp_path, "up slots=1\ndown slots=1\n"))
    with pytest.raises(InputError, match="pdsh is missing"):
        placement.check([])
    stand_in(programs, "pdsh", "exit 0")
    answer = 'case "$*" in *" up "*) ;; *) echo "{}" >&2; exit 255;; esac'
    stand_in(programs, "ssh", answer.format("Permission denied (publickey)."))
    with pytest.raises(InputError, match=r"1 of 2 hosts cannot be reached \(down\); down: Permi"):
        placement.check([])
    stand_in(programs, "ssh", answer.format("port 22: Connection timed out"))
    with pytest.raises(JobFailedError, match=r"down: port 22: Connection timed out; run again"):
        placement.check([])


def test_of_hosts_that_do_not_answer_the_unknown_one_comes_first(
    tmp_path: Path, programs: Path
) -> None:
    stand_in(programs, "pdsh", "exit 0")
    away, unknown = "No route to host", "Could not resolve hostname typo"
    stand_in(
        programs,
        "ssh",
        f'case "$*" in *typo*) x="{unknown}";; *) x="{away}";; esac; echo "$x" >&2; exit 255',
    )
    with pytest.raises(InputError, match=r"2 of 2 hosts .*typo: Could not resolve"):
        OverSsh(write_hosts(tmp_path, "away slots=1\ntypo slots=1\n")).check([])


def test_no_secret_goes_to_the_files_of_variables(tmp_path: Path) -> None:
    placement = OverSsh(write_hosts(tmp_path, "a slots=1\n"))
    environment = {"HF_TOKEN": "secret", "WANDB_API_KEY": "secret", "GLOO_SOCKET_IFNAME": "eth0"}
    own = placement.prepare(environment | {"OMP_NUM_THREADS": "4"}, str(tmp_path))["DS_ENV_FILE"]
    typed = placement.launcher_variables(str(tmp_path))["DS_ENV_FILE"]
    passed_on = "GLOO_SOCKET_IFNAME=eth0\nOMP_NUM_THREADS=4\n"
    assert Path(typed).read_text() == passed_on
    assert Path(own).read_text() == f"{passed_on}IPT_STARTER_FILE={own}\n"


def test_a_new_start_takes_over_from_an_earlier_one(tmp_path: Path) -> None:
    placement = OverSsh(write_hosts(tmp_path, "a slots=1\n"))
    first = Path(placement.prepare({}, str(tmp_path))["DS_ENV_FILE"])
    take_over(str(tmp_path))
    second = Path(placement.prepare({}, str(tmp_path))["DS_ENV_FILE"])
    assert not first.exists(), "which its ranks, if there are any left, take as a request to stop"
    assert second.exists()
    typed = placement.launcher_variables(str(tmp_path))["DS_ENV_FILE"]
    assert "IPT_STARTER_FILE" not in Path(typed).read_text(), "nobody takes over from a person"


def test_the_command_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "error")
    placement = OverSsh(write_hosts(tmp_path, "a slots=1\n"))
    launch = plan_launch(placement, str(tmp_path), "my run.toml", [])
    words = shlex.split(launch.typed())
    settings = [word for word in words if "=" in word][: words.index(launch.command[0])]
    assert "PYTHONUNBUFFERED=1" in settings, "what is not set here"
    assert not any(word.startswith("TRANSFORMERS_VERBOSITY") for word in words), "what is"
    assert words[len(settings) :] == launch.command
    assert set(launch.variables) >= {"DS_ENV_FILE", "PDSH_SSH_ARGS_APPEND"}
    assert os.access(launch.command[0], os.X_OK)


def test_the_host_before_a_line_is_taken_off(tmp_path: Path) -> None:
    placement = OverSsh(write_hosts(tmp_path, "worker-1 slots=1\n"))
    assert placement.without_host("worker-1: error: rank 3: broke\n") == "error: rank 3: broke\n"
    assert placement.without_host("error: worker-1: broke\n") == "error: worker-1: broke\n"


def test_a_host_whose_ranks_have_ended_is_lost_unless_in_order(tmp_path: Path) -> None:
    placement = OverSsh(write_hosts(tmp_path, "a slots=1\nb slots=1\n"))
    ended = "pdsh@head: b: ssh exited with exit code {}\n"
    assert placement.lost_host(ended.format(255)) == "b (out of reach)"
    assert placement.lost_host(ended.format(70)) == "b (exit code 70)"
    assert placement.lost_host(ended.format(75)) == ""
    assert placement.lost_host("b: step 7/9\n") == ""
    assert OneHost(2).lost_host(ended.format(255)) == ""


def test_one_host_is_reached_over_ssh_too(tmp_path: Path) -> None:
    assert "--force_multi" in OverSsh(write_hosts(tmp_path, "a slots=1\n")).options(str(tmp_path))


def test_what_this_machine_has_is_not_told_to_others(tmp_path: Path) -> None:
    placement = OverSsh(write_hosts(tmp_path, "a slots=1\n"))
    typed = Path(placement.launcher_variables(str(tmp_path))["DS_ENV_FILE"])
    placement.prepare({"DS_ACCELERATOR": "cpu", GUESSED_ACCELERATOR: "1"}, str(tmp_path))
    assert typed.read_text() == ""
    placement.prepare({"DS_ACCELERATOR": "cpu"}, str(tmp_path))
    assert typed.read_text() == "DS_ACCELERATOR=cpu\n"


@pytest.mark.parametrize("word", ['train.lora.targets=["q_proj"]', "a=$HOME", "a=b;c", "it's.toml"])
def test_what_a_remote_shell_would_change_is_refused(word: str, tmp_path: Path) -> None:
    placement = OverSsh(write_hosts(tmp_path, "a slots=1\n"))
    with pytest.raises(InputError, match="would pass through the shells"):
        placement.check(["my.toml", word])
