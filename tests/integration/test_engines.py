"""DeepSpeed's engines as training uses them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import free_port

pytestmark = [pytest.mark.deepspeed, pytest.mark.slow]
ROOT = Path(__file__).parents[2]


def test_steps_that_come_to_nothing_leave_no_trace() -> None:
    """At every ZeRO stage, with and without offload; see `tests/engine_trial.py`."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "engine_trial.py")],
        env=dict(os.environ, PYTHONPATH=str(ROOT), MASTER_PORT=str(free_port())),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout.endswith("9 cases, 0 failed\n"), done.stdout[-2000:] + done.stderr[-2000:]
    assert done.returncode == 0
