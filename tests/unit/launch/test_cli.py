"""The command line: quick, helpful, and exact about what is wrong."""

import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch.cli import app

ROOT = Path(__file__).parents[3]
COMMANDS = [
    "ingest",
    "synth",
    "filter",
    "pack",
    "train",
    "export",
    "eval",
    "run",
    "submit synth",
    "submit pack",
    "submit run",
    "submit train",
    "status",
    "inspect",
    "render",
    "report",
    "audit",
    "mixture",
    "tune",
    "tune-eval",
    "compare",
    "preflight",
    "slurm render",
    "plan",
]
PRESETS = sorted((ROOT / "launch" / "configs").glob("*.toml"))
runner = CliRunner()


def invoke(*arguments: str):
    return runner.invoke(app, list(arguments))


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    check = (
        "import sys; sys.argv = ['ipt', '--help']\n"
        "from launch.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'ray', 'vllm', 'deepspeed', 'transformers'} & sys.modules.keys()\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 1.0
    assert all(command.split()[0] in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_shows_an_example(command: str) -> None:
    shown = invoke(*command.split(), "--help").output
    assert f"ipt {command}" in re.sub(r"\s+", " ", shown)
    assert re.search("Examples?:", shown)
    assert "--dry-run" in shown


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_loads_and_shows_itself(preset: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    tomllib.loads(preset.read_text())
    for command in ("ingest", "synth", "filter", "pack", "train", "export", "eval", "run"):
        done = invoke(command, preset.stem, "--dry-run")
        assert done.exit_code == 0, done.output
        assert "would write" in done.output
        assert "train.num_steps = " in done.output
    assert not list(tmp_path.iterdir()), "a dry run touched the disk"


def test_presets_ship() -> None:
    names = {path.stem for path in PRESETS}
    assert names == {"quickstart", "scratch-500m", "scratch-1.3b", "continual-8b"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "quickstrat"], "no such preset; presets: continual-8b, quickstart"),
        (["run", "quickstart", "train.num_step=3"], "did you mean 'num_steps'"),
        (["run", "quickstart", "train.num_steps=0"], "greater than or equal to 1"),
        (["run", "quickstart", "mixture.rule=temperature"], "weights is for rule 'explicit'"),
        (
            ["run", "quickstart", "synth.protocol=chat", "synth.styles.faqs=1"],
            "names faqs; styles are: answer_first",
        ),
        (
            ["run", "quickstart", "synth.protocol=chat", "synth.style_folder=none"],
            "holds no .toml file",
        ),
        (["run", "quickstart", "pack.template_folder=none"], "it may hold: modes, readings"),
        (
            ["run", "quickstart", "mixture.weights.x-raw=1"],
            "names 'x-raw'; did you mean 'sotu-raw'?",
        ),
        (["run", "quickstart", "run.dir=s3://bucket/x"], "needs a file system that all nodes"),
        (["submit", "synht", "quickstart"], "Did you mean 'synth'"),
        (["submit", "synth", "quickstart", "synth.attemps=2"], "did you mean 'attempts'"),
        (["submit", "synth", "quickstart"], "is relative, which in a Ray job means"),
        (["submit", "train", "quickstart", "--no_ssh"], "--no_ssh needs --num_nodes and"),
        (["submit", "train", "quickstart", "--hostfile", "x", "--no_ssh"], "give one"),
        (["submit", "train", "quickstart", "--node_rank", "1"], "means nothing without --no_ssh"),
        (["submit", "train", "quickstart", "--master_addr", "a"], "--no_ssh or --hostfile"),
        (["run", "quickstart", "--hostfile", "x", "--dry-run"], "x: no such file"),
        (["train", "quickstart", "--hostfile", "x", "--dry-run"], "x: no such file"),
        (["submit", "train", "quickstart", "--hostfile", "x", "--dry-run"], "x: no such file"),
        (["submit", "status", "--address", "http://127.0.0.1:9"], "no Ray job server answers"),
        (["submit", "stop", "it", "--address", "http://127.0.0.1:9"], "no Ray job server ans"),
        (["status", "nowhere"], "no such folder"),
        (["inspect", "nowhere.jsonl.zst"], "no such file"),
        (["render", "nowhere"], "no such folder"),
        (["report", "nowhere"], "no such folder"),
        (["audit", "nowhere"], "no such folder"),
        (["synth", "quickstart"], "is not complete; run it first"),
    ],
)
def test_mistakes_get_one_message_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert message in re.sub(r"\s+", " ", done.output)
    assert "Traceback" not in done.output


def test_the_commands_of_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text()
    used = set(re.findall(r"\bipt ([a-z]+)\b", text))
    assert used
    assert used <= {command.split()[0] for command in COMMANDS}
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)\b", text)) <= targets
    names = set(re.findall(r"\bipt run ([a-z][\w.-]*)", text))
    presets = {name for name in names if not name.endswith(".toml")}
    assert "quickstart" in presets
    assert presets <= {path.stem for path in PRESETS}
