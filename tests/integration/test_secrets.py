"""A whole run, and runs that fail, in an environment full of secrets: none is found anywhere."""

import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import zstandard

ROOT = Path(__file__).resolve().parents[2]
MARK = "b4d5ec7e"
SECRETS = {
    name: f"value-{MARK}-of-{name}"
    for name in (
        "HF_TOKEN",
        "OPENAI_API_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "WANDB_API_KEY",
        "RAY_AUTH_TOKEN",
        "MY_OWN_PASSWORD",
    )
}
ESCAPE = "\x1b]0;owned\x07<script>alert(1)</script>"
QUICK = ("synth.engine.fake.delay_s=0", "train.num_steps=2", "train.num_ranks=1")


def ipt(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from launch.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | SECRETS | {"PYTHONPATH": str(ROOT)},
        timeout=400,
    )


def leaks_below(folder: Path) -> list[str]:
    """Files, those that links lead to as well, which hold the mark of the secrets."""
    found = []
    for where, _, names in os.walk(folder, followlinks=True):
        for path in (Path(where) / name for name in names):
            if not path.is_file():
                continue
            data = path.read_bytes()
            if path.name.endswith(".jsonl.zst"):
                data += zstandard.ZstdDecompressor().stream_reader(data).read()
            if MARK.encode() in data:
                found.append(str(path))
    return found


@pytest.fixture
def chatty_server() -> Iterator[str]:
    """A server that refuses every other request, and sends the key back with the refusal."""
    numbers = itertools.count()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(200, {"data": [{"id": "m"}]})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if next(numbers) % 2:
                self._send(200, {"choices": [{"text": "x", "index": 0, "finish_reason": "stop"}]})
                return
            said = f"{self.headers['Authorization']} may not do that {ESCAPE}"
            self._send(400, {"error": {"message": said}})

        def _send(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.deepspeed
def test_a_run_keeps_no_secret(small_run: Callable[[str], Path], tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(
        corpus.read_text() + json.dumps({"id": "x", "text": f"A text that says {ESCAPE}."}) + "\n"
    )
    config, folder = str(small_run("run")), tmp_path / "run"
    done = [ipt("run", config, *QUICK)]
    assert done[0].returncode == 0, done[0].stdout + done[0].stderr
    shards = sorted(map(str, folder.glob("documents/made-up/*.jsonl.zst")))
    done += [ipt("report", str(folder)), ipt("audit", str(folder)), ipt("status", str(folder))]
    done += [ipt("run", config, *QUICK, "--dry-run"), ipt("inspect", "-n", "99", shards[-1])]
    for each in done:
        assert each.returncode == 0, each.stdout + each.stderr
        assert MARK not in each.stdout + each.stderr
        assert "\x1b" not in each.stdout + each.stderr
    assert "\\x1b]0;owned\\x07" in done[-1].stdout, "the text was shown, and could do nothing"
    assert leaks_below(folder) == []
    page = (folder / "report.html").read_text()
    assert "<script>alert" not in page


@pytest.mark.slow
@pytest.mark.ray
def test_a_run_that_fails_keeps_none(
    small_run: Callable[[str], Path], tmp_path: Path, chatty_server: str
) -> None:
    config, folder = str(small_run("run")), tmp_path / "run"
    assert ipt("ingest", config).returncode == 0
    refused = ipt(
        *("synth", config, "synth.engine.kind=openai", "synth.engine.openai.endpoint=text"),
        *(f"synth.engine.openai.base_url={chatty_server}", "synth.engine.openai.model=m"),
    )
    quarantined = list(folder.glob("augmented/quarantined/**/*.zst"))
    assert quarantined, refused.stdout + refused.stderr
    records = zstandard.ZstdDecompressor().stream_reader(quarantined[0].read_bytes()).read()
    assert b"Bearer *** may not do that" in records
    failed = [
        refused,
        ipt("ingest", config, f"ingest.sources.made-up.inputs=['https://me:{MARK}@host/a.jsonl']"),
        ipt("ingest", config, f"ingest.sources.made-up.inputs=['https://host/a?sig={MARK}']"),
        ipt("ingest", config, f"synth.engine.openai.api_key_env=sk-{MARK}"),
        ipt("inspect", f"s3://me:{MARK}@bucket/a.jsonl.zst"),
        ipt("submit", "synth", config, "--env", f"A_TOKEN=sk-{MARK}-a", "--dry-run"),
    ]
    for each in failed:
        assert MARK not in each.stdout + each.stderr, each.args
        assert "Traceback" not in each.stderr, each.args
    assert [each.returncode for each in failed[1:4]] == [2, 2, 2]
    assert leaks_below(folder) == []
