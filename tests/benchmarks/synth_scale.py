"""What a job costs besides its engine: `python tests/benchmarks/synth_scale.py`.

A hundred thousand parts through `ipt synth`'s driver, board and workers on a local Ray, with the
fake engine and four documents a part, so that all that is measured is the work around the engine:
overhead of a part, memory of driver and board at 1%, 50% and 100% of the parts, and the time in
which a start sees that everything is committed. Ends in one JSON line; exit code 1 if a bar is
missed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from pipeline.contracts import Document, document_id
from pipeline.opening import open_stage
from pipeline.shards import write_shard
from pipeline.stage import PartCommit
from tests.benchmarks.bars import at_most, conclude, figure
from tests.tokenizers import save_tokenizer

BARS = {"resume_s": 5.0, "driver_growth": 1.5, "board_bytes_per_part": 1000.0}
SOURCE, DOCUMENTS_PER_PART = "made-up", 4


def write_documents(folder: Path, num_parts: int, documents_per_part: int) -> None:
    """A complete ingest stage of many small parts."""
    stage = open_stage(str(folder), "ingest", {}, {})
    for number in range(num_parts):
        part = f"{SOURCE}/part-{number:08d}"
        with write_shard(str(folder), f"{part}.jsonl.zst") as shard:
            for index in range(documents_per_part):
                text = f"{number} {index} the senate and the house of the union"
                identity = document_id(SOURCE, text)
                shard.write(Document(identity, SOURCE, text, {"route": "convert"}))
        stage.commit(
            PartCommit(
                part=part,
                files=[shard.entry()],
                records_in=documents_per_part,
                records_out=documents_per_part,
                counts={"convert": documents_per_part},
            )
        )
    stage.close()


def synthesize(documents: str, augmented: str, tokenizer: str, lanes: int) -> None:
    """The driver, as the command line runs it; a process of its own."""
    from synth.config import SynthConfig
    from synth.job import run_synth

    started = time.monotonic()
    config = SynthConfig.model_validate(
        {
            "model": tokenizer,
            "protocol": "tuned",
            "shots_per_chain": 1,
            "max_new_tokens": 64,
            "max_model_len": 1024,
            "engine": {"kind": "fake"},
            "workers": {"min": 1, "max": 1, "parts_in_flight": lanes},
        }
    )
    run_synth(config, documents, augmented)
    print(f"driver ended after {time.monotonic() - started:.1f} s", flush=True)


class Watch(threading.Thread):
    """Samples memory of driver and board against the parts committed."""

    def __init__(self, driver: int, metrics: Path) -> None:
        """Watch a process and what it notes."""
        super().__init__(daemon=True)
        self.samples: list[tuple[int, int, int, float]] = []
        self._driver, self._metrics = psutil.Process(driver), metrics

    def run(self) -> None:
        """Sample until the driver ends."""
        board = None
        while self._driver.is_running() and self._driver.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.5)
            try:
                if board is None:
                    board = next(
                        child
                        for child in self._driver.children(recursive=True)
                        if "JobBoard" in child.name() or "JobBoard" in " ".join(child.cmdline())
                    )
                line = json.loads(self._metrics.read_text().splitlines()[-1])
                sizes = self._driver.memory_info().rss, board.memory_info().rss
            except (StopIteration, psutil.Error, OSError, ValueError, IndexError):
                continue
            self.samples.append((line["parts_done"], *sizes, time.monotonic()))


def start(folder: Path, lanes: int) -> subprocess.Popen[str]:
    """Start the driver in a process of its own."""
    return subprocess.Popen(
        [sys.executable, __file__, "--drive", str(folder), "--lanes", str(lanes)],
        stdout=subprocess.PIPE,
        text=True,
    )


def resume_time(folder: Path) -> tuple[float, int]:
    """Seconds and peak memory in which a start finds what there is to do, in a fresh process."""
    code = f"""
import resource, time
started = time.monotonic()
from pipeline.opening import open_stage
from pipeline.stage import read_manifest
from synth.board import find_todo
read_manifest({str(folder / "documents")!r})
num_parts, todo = find_todo({str(folder / "documents")!r}, {str(folder / "augmented")!r})
assert not todo, len(todo)
print(time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    seconds, peak = done.stdout.split()
    return float(seconds), int(peak)


def sample_at(samples: list[tuple[int, int, int, float]], parts: float) -> tuple[int, ...]:
    """The first sample with at least so many parts done."""
    return next((s for s in samples if s[0] >= parts), samples[-1])[:3]


def main() -> int:
    """Run and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", type=int, default=100_000)
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        documents, augmented = options.drive / "documents", options.drive / "augmented"
        synthesize(str(documents), str(augmented), str(options.drive / "tokenizer"), options.lanes)
        return 0
    with tempfile.TemporaryDirectory(prefix="ipt-benchmark-") as name:
        folder = Path(name)
        save_tokenizer(folder / "tokenizer")
        write_documents(folder / "documents", options.parts, DOCUMENTS_PER_PART)
        print(f"{options.parts:,} parts written", flush=True)
        driver = start(folder, options.lanes)
        watch = Watch(driver.pid, folder / "augmented/metrics.jsonl")
        watch.start()
        output, _ = driver.communicate()
        print(output, flush=True)
        watch.join()
        (folder / "augmented/manifest.json").unlink()  # as after a kill just before the end
        resume_s, resume_bytes = resume_time(folder)
        samples = watch.samples
        few, half, full = (sample_at(samples, options.parts * share) for share in (0.01, 0.5, 1))
        first, last = samples[0], next(s for s in samples if s[0] >= options.parts)
        per_part_ms = 1000 * (last[3] - first[3]) / max(1, last[0] - first[0])
    print(f"\n{'parts committed':<18}{'driver':>10}{'board':>10}")
    for parts, driver_bytes, board_bytes in (few, half, full):
        print(f"{parts:<18,}{driver_bytes / 2**20:>8.0f}MB{board_bytes / 2**20:>8.0f}MB")
    growth = (full[2] - few[2]) / max(1, full[0] - few[0])
    return conclude(
        "synth_scale",
        {
            "resume_s": at_most(resume_s, BARS["resume_s"]),
            "driver_growth": at_most(full[1] / few[1], BARS["driver_growth"]),
            "board_bytes_per_part": at_most(growth, BARS["board_bytes_per_part"]),
            "overhead_per_part_ms": figure(per_part_ms),
            "overhead_per_document_ms": figure(per_part_ms / DOCUMENTS_PER_PART),
            "resume_peak_mb": figure(resume_bytes / 2**20),
            "exit_code": at_most(driver.returncode, 0),
        },
    )


if __name__ == "__main__":
    sys.exit(main())
