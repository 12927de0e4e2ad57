"""Measuring a synthesizer on a real engine in this process."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import NOISE
from tests.processes import marked_processes
from tests.tiny_model import save_tiny_model

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

# In a process of its own, as `ipt` is: vLLM's start needs a main module that can be run again.
SCRIPT = """
import json, sys
from pipeline.contracts import Pair
from synth.measuring.config import TuneEvalConfig
from synth.measuring.held_out import HeldOutText
from synth.measuring.job import measure_synthesizers
from synth.tasks import Task, Turn

def main():
    earlier = (Turn("the bank has gold", Task(), (Pair("What has it?", "gold"),)),)
    texts = [HeldOutText(str(n), "s", f"law {n}", (Pair("a", "b"),), earlier) for n in range(12)]
    engine = {"kv_cache_gib": 1, "max_num_seqs": 4}
    config = TuneEvalConfig(max_new_tokens=24, max_model_len=512, shots=(0, 1), engine=engine)
    results = measure_synthesizers(config, texts, [sys.argv[1]], sys.argv[2])
    print(json.dumps(results.as_json()))

if __name__ == "__main__":
    main()
"""


def test_a_real_engine_is_measured_and_leaves_nothing(tmp_path: Path, mark: str) -> None:
    model = save_tiny_model(tmp_path / "model")
    script = tmp_path / "measure.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(model), str(tmp_path / "kept")]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not marked_processes(mark, "VLLM"), "an engine outlived its measurement"
    assert not any(word in done.stdout + done.stderr for word in NOISE), done.stdout + done.stderr
    assert "24/24 texts" in done.stdout
    assert "WARNING" in (tmp_path / "kept" / "engine.log").read_text()
    assert len(list((tmp_path / "kept" / "replies").iterdir())) == 2
