"""A Ray that `ipt` starts itself is heard on this machine alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]
SCRIPT = """
import json, os, psutil
from pipeline.cluster import ray_session
with ray_session():
    import ray
    ray.get(ray.remote(lambda: os.getpid()).remote())
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    heard = [
        (process.name(), each.laddr.ip, each.laddr.port)
        for process in family
        for each in process.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    ]
print(json.dumps(heard))
"""


def test_all_it_listens_on_is_the_loopback_address() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    heard = json.loads(done.stdout.splitlines()[-1])
    names = {name for name, _, _ in heard}
    assert {"gcs_server", "raylet"} <= names, heard
    open_to_others = [each for each in heard if each[1] not in ("127.0.0.1", "::ffff:127.0.0.1")]
    assert not open_to_others
