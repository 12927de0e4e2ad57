"""`ipt plan` as it is called."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch.cli import app

ROOT = Path(__file__).parents[3]
runner = CliRunner()


def test_four_budgets_unless_others_are_named() -> None:
    done = runner.invoke(app, ["plan", "scratch-1.3b", "--nodes", "4", "--gpu", "H100", "--json"])
    assert done.exit_code == 0, done.output
    budgets = json.loads(done.output)["budgets"]
    assert [budget["train_tokens"] for budget in budgets] == [1e9, 1e10, 1e11, 1e12]
    named = ["plan", "scratch-1.3b", "--tokens", "5B", "--tokens", "300M", "--json"]
    budgets = json.loads(runner.invoke(app, named).output)["budgets"]
    assert [budget["train_tokens"] for budget in budgets] == [5e9, 3e8]


def test_rates_are_shown_with_their_origins() -> None:
    done = runner.invoke(app, ["plan", "quickstart", "--show-rates"])
    assert done.exit_code == 0
    assert re.search(r"train\.compiled_mfu +0\.441 +measured", done.output)
    assert re.search(r"storage\.bytes_per_s +2e\+09 +assumed", done.output)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpu", "tpu"], "must be one of a100, h100, h200, cpu"),
        (["--nodes", "0"], "--nodes (0) must be at least 1"),
        (["--tokens", "lots"], "count 'lots' must be a number above 0"),
        (["--rates", "nowhere"], "no such folder"),
        (["--price", "-1"], "--price (-1) must be 0 or more"),
        (["--documents", "0"], "--documents (0) must be above 0"),
    ],
)
def test_mistakes_get_one_message_and_exit_code_2(arguments: list[str], message: str) -> None:
    done = runner.invoke(app, ["plan", "scratch-500m", *arguments])
    assert done.exit_code == 2
    assert message in re.sub(r"\s+", " ", done.output)


def test_planning_needs_no_torch() -> None:
    check = (
        "import sys; sys.argv = ['ipt', 'plan', 'scratch-500m', '--tokens', '1B']\n"
        "from launch.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'ray', 'vllm', 'deepspeed', 'transformers'} & sys.modules.keys()\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
