"""Models that are cut off, missing, gated or too short, and tokenizers that do not fit."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from launch.preflight.findings import Finding, run_checks
from launch.preflight.models import locate, model_checks, weights_problem
from pipeline.errors import InputError
from tests.preflighted import subject_of
from tests.processes import free_port
from tests.tiny_model import save_tiny_model

AWAY = "hub.example does not answer"
ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    folder = tmp_path / "model"
    folder.mkdir()
    for path in tiny_model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def look(model: Path | str, *overrides: str, hub: str = AWAY) -> dict[str, list[Finding]]:
    settings = ["run.dir=/nowhere/run", f"synth.model={model}", f"pack.tokenizer={model}"]
    subject = subject_of("quickstart", *settings, "synth.max_model_len=1024", *overrides)
    found: dict[str, list[Finding]] = {}
    for finding in run_checks(list(model_checks(subject, hub))):
        found.setdefault(finding.check, []).append(finding)
    return found


def test_a_whole_model_is_fine(model: Path) -> None:
    found = look(model)
    states = {name: {each.state for each in findings} for name, findings in found.items()}
    assert states == {name: {"ok"} for name in ("synthesizer", "tokenizer", "model", "packages")}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model.safetensors", "half", "is cut off or damaged"),
        ("model.safetensors", None, "has no file of weights"),
        ("config.json", None, "has no config.json"),
        ("config.json", "{", "config.json or model.safetensors.index.json is damaged"),
        (
            "model.safetensors.index.json",
            json.dumps({"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}),
            "model-2.safetensors is missing",
        ),
    ],
)
def test_a_model_that_is_not_whole_is_a_problem(model: Path, name, content, words) -> None:
    path = model / name
    if content is None:
        path.unlink()
    elif content == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.write_text(content)
    assert words in weights_problem(model)
    found = look(model)["synthesizer"]
    assert [each.state for each in found] == ["problem"]
    assert words in found[0].found


def test_a_folder_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    found = look(tmp_path / "none")
    for check in ("synthesizer", "tokenizer", "model"):
        assert [each.state for each in found[check]] == ["problem"]
        assert "no such folder" in found[check][0].found


def test_a_context_window_that_is_too_short_is_a_problem(model: Path) -> None:
    found = look(model, "synth.max_model_len=4096")["synthesizer"]
    assert found[-1].state == "problem"
    assert "synth.max_model_len (4096) must be at most 2048" in found[-1].found


def test_a_model_with_fewer_words_than_its_tokenizer_is_a_problem(model: Path) -> None:
    found = look(model, "train.model.shape.vocab_size=5")["model"]
    assert "the model's vocabulary (5) is smaller than the tokenizer's" in found[0].found


def test_rows_that_are_longer_than_the_model_s_positions_are_warned_of(model: Path) -> None:
    found = look(model, "pack.seq_len=1024")["model"]
    assert [each.state for each in found] == ["ok", "warning"]
    assert "pack.seq_len (1024) is more than the 512 positions" in found[1].found


def test_a_server_that_does_not_answer_is_a_problem(model: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    settings = ["synth.engine.kind=openai", f"synth.engine.openai.base_url={url}"]
    [found] = look(model, *settings)["synthesizer"]
    assert found.state == "problem"
    assert f"{url} does not answer" in found.found


def test_a_scorer_and_packages_are_looked_at(model: Path) -> None:
    found = look(model, "synth.checks.scorer.model=org/judge", "train.logging.wandb_project=x")
    assert AWAY in found["scorer"][0].found
    states = {each.state for each in found["packages"]}
    assert states == ({"ok"} if _has("wandb") else {"problem"})


def _has(package: str) -> bool:
    return (
        subprocess.run([sys.executable, "-c", f"import {package}"], capture_output=True).returncode
        == 0
    )


def test_a_hub_that_is_away_is_named() -> None:
    located = locate("org/model", "", AWAY)
    assert located.problem == f"org/model is not in the hub's cache here, and {AWAY}"
    assert located.remedy


def test_what_has_to_be_converted_first_is_here_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPT_CACHE", str(tmp_path / "cache"))
    located = locate("package://synth/synthesizers/smollm2-135m", "", AWAY)
    assert (located.folder, located.problem) == (None, "")
    assert "its first use converts it" in located.says
    assert not (tmp_path / "cache").exists()
    with pytest.raises(InputError, match="no such file"):
        locate("/none/model.gguf", "", AWAY)


class _Hub(BaseHTTPRequestHandler):
    """Answers as the hub does for a model that is open, gated or absent."""

    def do_GET(self) -> None:
        is_check = self.path.endswith("auth-check")
        status, code = 200, ""
        if "gated" in self.path and is_check:
            status, code = 403, "GatedRepo"
        elif "absent" in self.path:
            status, code = 401, "RepoNotFound"
        elif "/revision/none" in self.path:
            status, code = 404, "RevisionNotFound"
        body = json.dumps({"id": "org/model", "siblings": [], "private": False}).encode()
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_the_hub_s_refusals_are_told_apart(hub: str, tmp_path: Path) -> None:
    ask = (
        "import json, sys; from launch.preflight.hub import hub_problem, refusal_of\n"
        "names = ['org/open', 'org/gated', 'org/absent', 'a/b/c']\n"
        "found = [hub_problem(), *(refusal_of(name, '') for name in names)]\n"
        "print(json.dumps([*found, refusal_of('org/open', 'none')]))"
    )
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, env=environment, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    reached, opened, gated, absent, malformed, revision = json.loads(done.stdout)
    assert (reached, opened) == ("", "")
    assert "its owners must grant access" in gated
    assert "there is no such model" in absent
    assert "the form org/name" in malformed
    assert "no revision 'none'" in revision
