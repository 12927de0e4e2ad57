"""How well `ipt plan` predicts, and what a thousand workers do to the scheduler.

    python tests/benchmarks/plan.py
    python tests/benchmarks/plan.py --only drill --workers 4000
    python tests/benchmarks/plan.py --protocol rules      where the engine would take too long

    queue    `PartQueue` itself with all its workers and parts, in wall-clock time a call
    board    the real `JobBoard` as a Ray actor that as many workers report to: CPU time a call
    drill    the simulation with these costs: undisturbed, nodes reclaimed one by one, in waves
             besides, with the journal, with long parts
    check    a real run (`ipt run`, all stages), whose rates predict another on two and a half times
             as many texts and steps, which then runs

The check's engine is the synthesizer that ships, through vLLM; rates and times are those of an idle
machine, so nothing else should run. Ends in one JSON line; exit code 1 if a bar is missed.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from launch.planning.measured import STAGES, RunMeasures, measures_of
from launch.planning.outcome import BoardCosts, Outcome, Scenario
from launch.planning.simulation import simulate
from pipeline.opening import open_stage
from pipeline.run_folder import RunFolder
from pipeline.stage import PartCommit
from synth.part_queue import PartQueue
from tests.benchmarks.bars import Bars, at_least, at_most, conclude, figure, print_table
from tests.benchmarks.corpus import read_speeches

PARTS = ("queue", "board", "drill", "check")
BARS = {
    "goodput": 0.95,
    "finish_over_undisturbed": 1.1,
    "finish_and_take_us": 50.0,
    "wall_error": 0.25,
    "tokens_error": 0.1,
    "storage_error": 0.1,
}
LANES, PART_S, CALLS = 2, 90.0, 5_000
COUNTS = {f"count_{number}": number for number in range(12)}
SMALL, LARGE, SHARE = 100, 249, 0.005  # speeches, and the share of their passages converted
STEPS = {SMALL: 20, LARGE: 50}
ROW_TOKENS, STEP_ROWS = 512, 8


def part_names(count: int) -> list[str]:
    """Names of parts, as ingest gives them."""
    return [f"s/part-{number:08d}" for number in range(count)]


def measure_queue(workers: int, parts: int) -> dict[str, float]:
    """Microseconds of each call, with so many workers and parts."""
    queue = PartQueue(part_names(parts))
    held = []
    started = time.perf_counter()
    for worker in range(workers):
        for _ in range(LANES):
            assignment = queue.take(str(worker))
            assert assignment is not None
            held.append((str(worker), assignment.part))
    taken_s = (time.perf_counter() - started) / len(held)
    rounds = parts - len(held)
    started = time.perf_counter()
    for number in range(rounds):
        worker, part = held[number]
        queue.finish(part)
        assignment = queue.take(worker)
        assert assignment is not None
        held.append((worker, assignment.part))
    finished_s = (time.perf_counter() - started) / rounds
    started = time.perf_counter()
    lost = [queue.lost(str(worker)) for worker in range(workers)]
    lost_s = (time.perf_counter() - started) / workers
    assert sum(len(loss.parts) for loss in lost) == workers * LANES == queue.num_waiting
    seconds = {"take": taken_s, "finish and take": finished_s, "lost": lost_s}
    return {f"{name}, us": 1e6 * value for name, value in seconds.items()}


def measure_board(folder: Path, workers: int, parts: int) -> BoardCosts:
    """CPU seconds of the board's process for each call, as a Ray actor."""
    import psutil
    import ray

    from pipeline.cluster import ray_session
    from synth.board import FinishedPart, JobBoard, WorkerReport

    documents = open_stage(str(folder / "documents"), "ingest", {}, {})
    for part in part_names(parts):
        documents.commit(PartCommit(part=part, files=[], records_in=0, records_out=0))
    open_stage(str(folder / "augmented"), "synth", {}, {})
    with ray_session(None):
        board: Any = ray.remote(JobBoard).remote(
            str(folder / "documents"), str(folder / "augmented")
        )
        names = [f"worker-{number}" for number in range(workers)]
        replies = ray.get([board.take.remote(name) for name in names for _ in range(LANES)])
        held = [reply.assignment.part for reply in replies]
        process = psutil.Process(_process_of("JobBoard"))

        def cost_of(calls: list[Any]) -> float:
            before = process.cpu_times()
            ray.get(calls)
            after = process.cpu_times()
            used = after.user + after.system - before.user - before.system
            return float(used) / len(calls)

        def report_of(number: int) -> WorkerReport:
            mine = held[LANES * number : LANES * (number + 1)]
            return WorkerReport(dict.fromkeys(mine, COUNTS))

        cost_of([board.report.remote(name, report_of(n)) for n, name in enumerate(names)])
        reporting = [
            board.report.remote(names[number % workers], report_of(number % workers))
            for number in range(CALLS)
        ]
        report_s = cost_of(reporting)
        news_s = cost_of([board.news.remote() for _ in range(50)]) / workers
        finished = [FinishedPart(part, COUNTS, is_ours=True) for part in held]
        event_s = cost_of(
            [
                board.finish.remote(names[number // LANES], each)
                for number, each in enumerate(finished)
            ]
        )
    return BoardCosts(event_s=event_s, report_s=report_s, news_s=news_s)


def _process_of(actor: str) -> int:
    import psutil

    for process in psutil.Process().children(recursive=True):
        if actor in " ".join(process.cmdline()):
            return int(process.pid)
    raise SystemExit(f"no process of {actor}")


def drills(workers: int, parts: int, board: BoardCosts) -> dict[str, Scenario]:
    """What the simulation goes through, by name."""
    calm = Scenario(workers, parts, PART_S, width=LANES - 1, board=board)
    alone = replace(calm, preemptions_per_day=2.0)
    waves = replace(alone, waves_per_day=6.0, wave_share=0.5)
    often = replace(waves, preemptions_per_day=8.0, waves_per_day=12.0)
    # As much work in all, in parts of half an hour.
    long = replace(waves, part_s=20 * PART_S, num_parts=max(workers, parts // 20))
    return {
        "undisturbed": calm,
        "2 a day, each alone": alone,
        "and 6 waves a day": waves,
        "the same, journal": replace(waves, journal_s=10.0),
        "8 a day, 12 waves": often,
        "6 waves, long parts": long,
        "the same, journal ": replace(long, journal_s=10.0),
    }


def run_drills(workers: int, parts: int, board: BoardCosts) -> Bars:
    """Simulate all of them; those that the bars are of are the first and the third."""
    results: dict[str, dict[str, float]] = {}
    outcomes: dict[str, Outcome] = {}
    for name, scenario in drills(workers, parts, board).items():
        started = time.perf_counter()
        outcome = outcomes[name] = simulate(scenario)
        results[name] = {
            "finish, h": outcome.finish_s / 3600,
            "goodput": outcome.goodput,
            "redone": outcome.redone_share,
            "workers lost": outcome.num_preempted,
            "parts at risk": outcome.parts_at_risk,
            "begun again": outcome.parts_begun_again,
            "with care": outcome.parts_careful,
            "board busy": outcome.board_load,
            "wall, s": time.perf_counter() - started,
        }
        if outcome.hopeless_part:
            print(f"{name}: given up, as workers die of {outcome.hopeless_part} again and again")
    counts = dict.fromkeys(("workers lost", "parts at risk", "begun again", "with care"), ",.0f")
    columns = {"finish, h": ".3f", "goodput": ".2%", "redone": ".3%", **counts}
    print_table(results, columns | {"board busy": ".1%", "wall, s": ".1f"})
    calm, disturbed = outcomes["undisturbed"], outcomes["and 6 waves a day"]
    not_once = sum(abs(parts - each.num_finished) for each in (calm, disturbed))
    over = disturbed.parts_begun_again - disturbed.parts_at_risk
    return {
        "drill_goodput_undisturbed": figure(calm.goodput),
        "drill_goodput": at_least(disturbed.goodput, BARS["goodput"]),
        "drill_finish_over_undisturbed": at_most(
            disturbed.finish_s / calm.finish_s, BARS["finish_over_undisturbed"]
        ),
        "drill_parts_not_finished_once": at_most(not_once, 0),
        "drill_redone_beyond_those_at_risk": at_most(max(0, over), 0),
        "drill_board_load": at_most(disturbed.board_load, 1.0),
        "board_full_at_workers": figure(min(1e9, disturbed.saturation_workers)),
    }


def settings(folder: Path, speeches: int, protocol: str) -> list[str]:
    """Overrides over the quickstart preset for a run on so many speeches."""
    corpus = folder / f"{speeches}.jsonl"
    if not corpus.is_file():
        texts = read_speeches()
        random.Random(0).shuffle(texts)  # of all years, as the rates of a few of them mislead
        texts = texts[:speeches]
        corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    share = SHARE if protocol == "tuned" else 0.5
    return [
        "quickstart",
        f"run.dir={folder / f'run-{speeches}'}",
        f'ingest.sources.sotu.inputs=["{corpus}"]',
        f"ingest.sources.sotu.convert_fraction={share}",
        "ingest.docs_per_part=256",
        f"synth.protocol={protocol}",
        "synth.engine.max_num_seqs=8",  # so that the small run fills the engine, too
        f"train.num_steps={STEPS[speeches]}",
        "train.heldout.every=0",
        "train.checkpoint_every=1000",
    ]


def run_ipt(*arguments: str) -> str:
    """The command line's output."""
    command = [str(Path(sys.executable).with_name("ipt")), *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return done.stdout


def check_predictions(folder: Path, protocol: str) -> Bars:
    """Run, predict, run the larger one, and hold the two side by side."""
    run_ipt("run", *settings(folder, SMALL, protocol))
    small = measures_of(RunFolder(str(folder / f"run-{SMALL}")))
    larger = settings(folder, LARGE, protocol)
    sizes = [(folder / f"{speeches}.jsonl").stat().st_size for speeches in (SMALL, LARGE)]
    documents = round(small.documents * sizes[1] / sizes[0])
    tokens = STEPS[LARGE] * STEP_ROWS * ROW_TOKENS
    options = [
        *("--gpu", "cpu", "--nodes", "1", "--rates", str(folder / f"run-{SMALL}")),
        *("--documents", str(documents), "--tokens", str(tokens), "--json"),
    ]
    predicted = json.loads(run_ipt("plan", *larger, *options))["budgets"][0]
    print("predicted; the larger run begins", flush=True)
    run_ipt("run", *larger)
    actual = measures_of(RunFolder(str(folder / f"run-{LARGE}")))
    return compare(predicted, actual)


def compare(predicted: Mapping[str, Any], actual: RunMeasures) -> Bars:
    """Print what was predicted beside what came, and hold the errors against the bars."""
    rows = {
        f"{name}, s": (predicted["stages"][name]["wall_s"], actual.times[name].wall_s)
        for name in STAGES
    }
    rows["in total, s"] = predicted["wall_s"], sum(actual.times[name].wall_s for name in STAGES)
    rows["documents"] = predicted["documents"], actual.documents
    rows["tokens written"] = predicted["output_tokens"], actual.output_tokens
    rows["tokens packed"] = predicted["packed_tokens"], actual.packed_tokens
    sizes = actual.bytes_by_folder
    rows |= {f"{name}, MB": (predicted["bytes"][name] / 1e6, sizes[name] / 1e6) for name in sizes}
    rows["storage, MB"] = tuple(sum(rows[f"{name}, MB"][n] for name in sizes) for n in (0, 1))
    errors = {name: (said - came) / came for name, (said, came) in rows.items() if came}
    print_table(
        {
            name: {"predicted": said, "actual": came}
            | ({"error": errors[name]} if name in errors else {})
            for name, (said, came) in rows.items()
        },
        {"predicted": ",.2f", "actual": ",.2f", "error": "+.1%"},
    )
    bases = {stage["basis"] for stage in predicted["stages"].values()}
    return {
        "check_wall_error": at_most(abs(errors["in total, s"]), BARS["wall_error"]),
        "check_packed_tokens_error": at_most(abs(errors["tokens packed"]), BARS["tokens_error"]),
        "check_storage_error": at_most(abs(errors["storage, MB"]), BARS["storage_error"]),
        "check_written_tokens_error": figure(abs(errors.get("tokens written", 0.0))),
        "check_stages_on_rates_of_the_run": figure(len(STAGES) if bases == {"this run"} else 0),
    }


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--workers", type=int, default=1_000)
    parser.add_argument("--parts", type=int, default=100_000)
    parser.add_argument("--protocol", choices=("tuned", "rules"), default="tuned")
    options = parser.parse_args()
    bars: Bars = {}
    board = BoardCosts()
    with tempfile.TemporaryDirectory(prefix="ipt-benchmark-") as name:
        folder = Path(name)
        if "queue" in options.only:
            found = measure_queue(options.workers, options.parts)
            print("part queue:", {name: round(value, 2) for name, value in found.items()})
            bars["queue_finish_and_take_us"] = at_most(
                found["finish and take, us"], BARS["finish_and_take_us"]
            )
        if "board" in options.only:
            board = measure_board(folder / "board", options.workers, LANES * options.workers + 10)
            print("board:", board)
            for cost in ("event_s", "report_s", "news_s"):
                bars[f"board_{cost}"] = figure(getattr(board, cost), 6)
        if "drill" in options.only:
            bars |= run_drills(options.workers, options.parts, board)
        if "check" in options.only:
            bars |= check_predictions(folder, options.protocol)
    return conclude("plan", bars)


if __name__ == "__main__":
    sys.exit(main())
