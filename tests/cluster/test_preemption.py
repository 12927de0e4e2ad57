"""A whole run on hosts that are switched off and cut off: nothing lost, nothing twice."""

from pathlib import Path

import pytest

from tests.cluster.hosts import can_have_hosts
from tests.faults.hosts import drill

pytestmark = [pytest.mark.cluster, pytest.mark.ray, pytest.mark.deepspeed, pytest.mark.slow]


def test_a_run_whose_hosts_come_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if reason := can_have_hosts(with_ssh=True):
        pytest.skip(reason)
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    outcome = drill(tmp_path, num_kills=3, seed=0, timeout_s=900, texts=300, steps=600)
    assert outcome.is_complete, outcome.log
    assert (outcome.lost, outcome.duplicated, outcome.problems) == (0, 0, [])
    assert (outcome.steps, outcome.steps_that_differ) == (600, 0)
    assert outcome.refusals == 0, outcome.log
    assert outcome.killed.total() > 0
