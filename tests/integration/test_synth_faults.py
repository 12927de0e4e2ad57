"""Synthesis on a real Ray while its parts are killed, hang, fill the disk and are asked to stop."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from pipeline.contracts import decode_document
from pipeline.shards import read_lines
from pipeline.stage import read_commits, read_manifest
from tests.faults.synthesis import TARGETS, Drill, audit, finish, prepare
from tests.integration.conftest import IPT, NOISE, run_ipt
from tests.processes import marked_processes, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 200 ingested documents in parts of 8: `run.toml` and `run/`."""
    folder = tmp_path_factory.mktemp("ingested")
    prepare(folder, num_documents=200, delay_s=0.3)
    return folder


@pytest.fixture
def job(ingested: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[str]]:
    """A copy of it for one test, and the arguments of `ipt synth` that lead to it."""
    run = tmp_path / "run"
    shutil.copytree(ingested / "run", run)
    return run, ["synth", str(ingested / "run.toml"), f"run.dir={run}"]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*IPT, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def commits_of(run: Path) -> list[Path]:
    return list(run.glob("augmented/made-up/part-*.json"))


def test_a_job_outlives_all_it_consists_of(tmp_path: Path) -> None:
    """An engine, a Ray worker, the driver and a raylet of a three-node cluster get SIGKILL."""
    config = prepare(tmp_path, num_documents=260, delay_s=0.4)
    drill = Drill(config, tmp_path / "run", seed=1)
    with drill.under_way():
        drill.start_driver()
        for target in TARGETS:
            assert drill.wait_for_work(), f"ended before the {target} could be killed"
            assert drill.kill(target)
        code, output = finish(drill, timeout_s=300)
        begun, at_risk = drill.num_begun(), drill.at_risk()
    assert code == 0, output
    result = audit(drill.run)
    assert (result.lost, result.duplicated, result.quarantined) == (0, 0, 0)
    assert result.documents > 200
    assert begun.total() - len(begun) <= at_risk
    assert wait_for(lambda: not marked_processes(drill.mark, "synth")), "something was left behind"


def test_documents_that_kill_starve_or_hang_the_engine_are_quarantined(
    job: tuple[Path, list[str]], mark: str
) -> None:
    run, arguments = job
    documents = [
        document
        for commit in read_commits(str(run / "documents")).values()
        for line in read_lines(str(run / "documents" / commit.shard))
        if (document := decode_document(line)).is_converted
    ]
    faults = {}
    for number, fault in ((20, "die"), (70, "hang"), (120, "exhaust_memory")):
        faults[documents[number].text.split()[0]] = fault
    assert len(faults) == 3
    words = ",".join(f'" {word} "="{fault}"' for word, fault in faults.items())
    done = run_ipt(
        *arguments,
        f"synth.engine.fake.faults={{{words}}}",
        "synth.engine.fake.delay_s=0.02",
        "synth.engine.hang_timeout_s=2",
        "synth.shots_per_chain=1",
    )
    quarantined = {}
    for path in (run / "augmented/quarantined").rglob("*.jsonl.zst"):
        for line in read_lines(str(path)):
            record = orjson.loads(line)
            quarantined[record["doc_id"]] = record["error"]
    bad = {documents[number].id: number for number in (20, 70, 120)}
    assert quarantined.keys() == bad.keys()
    errors = {bad[identity]: error for identity, error in quarantined.items()}
    assert "ended with -9" in errors[20]
    assert "it hangs: no sign of life" in errors[70]
    assert "ended with -9" in errors[120]
    assert audit(run).lost == audit(run).duplicated == 0
    assert read_manifest(str(run / "augmented")).counts["documents_quarantined"] == 3
    assert "quarantined 3" in done.stdout


def test_sigterm_finishes_what_is_in_flight(job: tuple[Path, list[str]], mark: str) -> None:
    run, arguments = job
    process = start(arguments)
    assert wait_for(lambda: commits_of(run))
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 75, output
    assert "SIGTERM: no new parts; up to 60 s for those in flight" in output
    assert "0 in flight were abandoned; run again to go on" in output
    num_committed = len(commits_of(run))
    assert 0 < num_committed < len(read_commits(str(run / "documents")))
    shown = run_ipt("status", str(run)).stdout
    assert f"{num_committed} of 26 parts committed" in shown
    run_ipt(*arguments, "synth.engine.fake.delay_s=0")
    assert audit(run).lost == audit(run).duplicated == 0


def test_chains_in_the_journal_outlive_a_stop_without_grace(
    ingested: Path, tmp_path: Path, mark: str
) -> None:
    run = tmp_path / "run"
    config = [str(ingested / "run.toml"), f"run.dir={run}", "ingest.docs_per_part=200"]
    run_ipt("ingest", *config)  # all documents in one part, which takes a minute and a half
    arguments = ["synth", *config, "synth.journal=true", "synth.stop_grace_s=0"]
    arguments += ["synth.engine.max_num_seqs=1", "synth.engine.fake.delay_s=0.5"]

    def segments() -> set[Path]:
        return set((run / "augmented/journal").rglob("*.jsonl.zst"))

    process = start(arguments)
    assert wait_for(segments)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 75, output
    assert segments()
    run_ipt(*arguments, "synth.engine.fake.delay_s=0")
    logs = "".join(path.read_text() for path in (run / "logs/ray").glob("worker-*.out"))
    assert "chains out of the journal" in logs
    assert audit(run).lost == audit(run).duplicated == 0
    assert not (run / "augmented/journal").exists()


def test_a_second_run_in_the_same_folder_is_refused(job: tuple[Path, list[str]], mark: str) -> None:
    run, arguments = job
    process = start(arguments)
    assert wait_for(lambda: (run / "augmented/stage.json").exists())
    done = run_ipt(*arguments, check=False)
    assert done.returncode == 1, "once that one has ended, it may go on"
    assert f"another run (process {process.pid}) is working in this folder" in done.stderr
    process.kill()
    process.communicate()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1.5 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"mounting needs privileges: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_fails_loudly_and_loses_nothing(
    job: tuple[Path, list[str]], small_disk: Path, mark: str
) -> None:
    run, arguments = job
    small = small_disk / "run"
    shutil.copytree(run, small)
    filler = small_disk / "filler"
    arguments[2] = f"run.dir={small}"
    process = start(arguments)
    assert wait_for(lambda: commits_of(small))
    subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4096"], capture_output=True)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    assert "No space left on device" in output
    assert "what was committed stays, run again to go on" in output
    committed = len(commits_of(small))
    assert 0 < committed < 26
    filler.unlink()
    run_ipt(*arguments, "synth.engine.fake.delay_s=0")
    assert audit(small).lost == audit(small).duplicated == 0


def test_a_good_run_says_what_it_does_and_no_more(job: tuple[Path, list[str]], mark: str) -> None:
    _, arguments = job
    done = run_ipt(*arguments)
    shown = done.stdout + done.stderr
    assert not [word for word in NOISE if word in shown], shown
    for figure in ("parts 26/26", "documents/s", "output tokens/s", "prefix hits", "workers 1"):
        assert figure in shown, shown
    assert run_ipt(*arguments).stdout.startswith("synth   complete already")
