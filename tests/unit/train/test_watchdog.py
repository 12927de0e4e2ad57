"""Who keeps the others waiting."""

import os
import subprocess
import sys
from pathlib import Path

from train.watchdog import EXIT_HUNG, Beat, explain_hang


def beat(step: int, phase: str, age_s: float = 1.0) -> Beat:
    return Beat(step, phase, 100.0, age_s)


def test_the_rank_that_is_behind_is_named() -> None:
    beats = {0: beat(7, "losses"), 1: beat(7, "data"), 2: beat(7, "losses")}
    assert explain_hang(beats) == "rank 1 is still at the data of step 7"
    beats[1] = beat(6, "optimizer")
    assert explain_hang(beats) == "rank 1 is still at the optimizer of step 6"


def test_a_rank_that_says_nothing_is_named() -> None:
    beats = {0: beat(7, "losses"), 1: beat(7, "losses", age_s=90.0), 2: beat(7, "losses")}
    assert explain_hang(beats) == "rank 1 shows no sign of life"
    assert explain_hang(beats | {1: None}) == "rank 1 shows no sign of life"


def test_when_all_are_at_the_same_point_nobody_is() -> None:
    beats = dict.fromkeys(range(3), beat(7, "losses"))
    assert "all ranks are at the same point" in explain_hang(beats)


def test_without_any_word_it_is_the_one_that_passes_them_on() -> None:
    assert "rank 0" in explain_hang({0: None, 1: None})


def test_of_two_ranks_the_one_that_fell_silent_is_named() -> None:
    beats = {0: beat(7, "optimizer"), 1: beat(5, "data", age_s=15.0)}
    assert explain_hang(beats) == "rank 1 shows no sign of life"


def hanging_rank(folder: Path, stderr: int) -> subprocess.Popen[str]:
    """A rank that hangs, and whose store is a port that says nothing, as behind a network cut."""
    script = folder / "rank.py"
    script.write_text(
        "import os, socket, time\n"
        "silent = socket.create_server(('127.0.0.1', 0))\n"
        "os.environ |= {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(silent.getsockname()[1])}\n"
        "import torch.distributed\n"
        "torch.distributed.get_rank = lambda: 1\n"
        "torch.distributed.get_world_size = lambda: 2\n"
        "from train import watchdog\n"
        "watchdog._LONGEST_LOOK_S = 1.0\n"
        "dog = watchdog.Watchdog(0.5)\n"
        "dog.start()\n"
        "time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, str(script)]
    return subprocess.Popen(command, stderr=stderr, text=True, env=environment)


def test_a_store_that_never_answers_holds_up_nobody(tmp_path: Path) -> None:
    rank = hanging_rank(tmp_path, subprocess.PIPE)
    _, said = rank.communicate(timeout=50)
    assert rank.returncode == EXIT_HUNG, said
    assert "rank 1 has been at the data of step 0" in said
    assert "does not answer" in said


def test_a_rank_that_nobody_hears_ends_all_the_same(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    rank = hanging_rank(tmp_path, write_end)
    os.close(write_end)
    os.close(read_end)  # as with the launcher and its ssh session
    assert rank.wait(timeout=50) == EXIT_HUNG
