"""Rows on an object store: ranks of a node share one cache, and one of them is killed."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from pipeline.loader.stream import open_stream
from tests.packed import random_rows, write_packed
from tests.processes import wait_for

pytestmark = pytest.mark.slow

RANK = """
import json, sys
from pipeline.loader.stream import open_stream
folder, cache, rank, state = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
stream = open_stream(folder, 16, 1600, rank=rank, num_ranks=2, cache_folder=cache, cache_gib=0.0002)
stream.load_state_dict(state)
for batch in stream:
    print(json.dumps([batch.input_ids.tolist(), stream.state_dict()]), flush=True)
"""


def start(folder: str, cache: Path, rank: int, state: dict) -> subprocess.Popen[str]:
    arguments = [folder, str(cache), str(rank), json.dumps(state)]
    return subprocess.Popen(
        [sys.executable, "-c", RANK, *arguments], stdout=subprocess.PIPE, text=True
    )


def lines_of(process: subprocess.Popen[str]) -> list[tuple[list[list[int]], dict]]:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return [json.loads(line) for line in output.splitlines()]


def test_ranks_share_a_small_cache_and_one_is_killed(bucket: str, tmp_path: Path) -> None:
    parts = {
        name: [random_rows(150, 64, 10 * k + n) for n in range(3)]
        for k, name in enumerate(["a-raw", "b-raw"])
    }
    local = write_packed(tmp_path / "rows", parts, 8)
    filesystem = fsspec.filesystem("s3")
    filesystem.put(f"{local.folder}/", f"{bucket}/rows/", recursive=True)
    expected = [batch.input_ids.tolist() for batch in open_stream(local.folder, 16, 1600)]
    cache = tmp_path / "cache"
    first, second = (start(f"{bucket}/rows", cache, rank, {"rows": 0}) for rank in range(2))
    assert first.stdout is not None
    before = [json.loads(first.stdout.readline()) for _ in range(7)]
    first.send_signal(signal.SIGKILL)
    first.communicate()
    again = start(f"{bucket}/rows", cache, 0, before[-1][1])
    shares = [before + lines_of(again), lines_of(second)]
    assert [len(share) for share in shares] == [100, 100]
    for step, wanted in enumerate(expected):
        assert shares[0][step][0] + shares[1][step][0] == wanted
    used = sum(path.stat().st_size for path in cache.glob("ranges/*/*"))
    assert 0 < used < 2 * 0.0002 * 2**30
    assert wait_for(lambda: not list(Path("/dev/shm").glob("ipt*"))), "shared memory was left"
