"""What `ipt run` says at its end, and what `ipt status` says at any time."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import orjson

from launch.stages import Stage, describe, outdated_inputs, stages_in
from pipeline import storage
from pipeline.progress import duration
from pipeline.run_folder import RunFolder
from pipeline.stage import (
    Manifest,
    committed_names,
    find_identity,
    find_manifest,
    read_commits,
    read_manifest,
)
from synth.view import plain
from train.metrics import read_metrics
from train.scores import read_scores

_RECENT_STEPS = 50
# A step that is later than an evaluation or a checkpoint would make it is said to be missing.
_QUIET_S, _QUIET_STEPS = 120.0, 10


def status_lines(folder: RunFolder, stages: Sequence[Stage] = ()) -> list[str]:
    """One line a stage: complete, in progress with its parts or steps, or not begun.

    Args:
        folder: of the run.
        stages: which; none: those of the run that is there.
    """
    lines = []
    made: dict[str, Manifest] = {}
    for stage in stages or stages_in(folder):
        path = stage.folder_of(folder)
        manifest = find_manifest(path)
        if manifest is not None:
            made[stage.name] = manifest
            state = "; ".join([f"complete: {describe(manifest)}", *outdated_inputs(manifest, made)])
        elif find_identity(path) is None:
            state = "not begun"
        else:
            state = f"in progress: {_progress(stage.name, folder, path)}"
        lines.append(f"{stage.name:<7} {state}")
    return lines


def _progress(stage: str, folder: RunFolder, path: str) -> str:
    if stage == "train":
        return _train_progress(folder, path)
    if stage == "synth":
        return _synth_progress(folder)
    commits = read_commits(path)
    records = sum(commit.records_out for commit in commits.values())
    return f"{len(commits)} parts, {records:,} records committed"


def _train_progress(folder: RunFolder, path: str) -> str:
    """The last step and its figures; the time left while steps are being made."""
    metrics = read_metrics(folder.metrics)
    if not metrics:
        return "before the first step"
    identity = find_identity(path)
    assert identity is not None
    last, num_steps = metrics[-1], int(identity.config["num_steps"])
    line = f"step {last['step']}/{num_steps}, loss {last['loss']:.4f}"
    if (tokens_per_s := last.get("perf/tokens_per_s")) is not None:
        line += f", {tokens_per_s:,.0f} tokens/s"
    if "anomaly" in last:
        line += f", {last['anomaly']}"
    times_s = [step["time/step_s"] for step in metrics[-_RECENT_STEPS:] if "time/step_s" in step]
    if not times_s:
        return line
    step_s, age_s = sum(times_s) / len(times_s), time.time() - Path(folder.metrics).stat().st_mtime
    if age_s > max(_QUIET_S, _QUIET_STEPS * step_s):
        return f"{line}; no step for {duration(age_s)}"
    return f"{line}; {duration(step_s * (num_steps - last['step']))} left"


def _synth_progress(folder: RunFolder) -> str:
    """Parts as they are committed now, and the figures that the driver noted last."""
    done = len(committed_names(folder.augmented))
    line = f"{done:,} of {len(committed_names(folder.documents)):,} parts committed"
    metrics = read_metrics(folder.synth_metrics)
    if not metrics or "parts_total" not in metrics[-1]:
        return f"{line}; no figures yet"
    last = metrics[-1]
    age_s = time.time() - last["start"] - last["elapsed_s"]
    return f"{line}; {duration(age_s)} ago: {plain(last)}"


def summary_lines(folder: RunFolder) -> list[str]:
    """The figures of a complete run and where its results are."""
    ingest = read_manifest(folder.documents)
    synth = read_manifest(folder.augmented)
    filtered = read_manifest(folder.filtered)
    pack = read_manifest(folder.rows)
    metrics = read_metrics(folder.metrics)
    report = orjson.loads(storage.read_bytes(folder.report))
    pairs_dropped = counts_below(synth, "pairs_dropped") + counts_below(filtered, "pairs_dropped")
    lines = [
        "",
        "Summary",
        f"  documents        {ingest.records_out:,}"
        f" ({ingest.counts.get('convert', 0):,} converted, {ingest.counts.get('raw', 0):,} raw)",
        f"  dropped          {_by_reason(ingest.dropped)}",
        f"  pairs            {filtered.counts.get('pairs', 0):,}",
        f"  pairs dropped    {_by_reason(pairs_dropped)}",
        f"  unreadable       {_by_reason(counts_below(synth, 'fragments_dropped'))}",
        f"  tokens packed    {pack.counts.get('tokens', 0):,}",
        f"  training loss    {metrics[0]['loss']:.3f} at step 1, "
        f"{metrics[-1]['loss']:.3f} at step {metrics[-1]['step']}",
    ]
    for source, held_out in sorted(report["heldout"].items()):
        lines.append(
            f"  held-out loss    {held_out['loss']:.3f}  (perplexity {held_out['perplexity']:.1f}, "
            f"{held_out['tokens']:,} tokens)  {source}"
        )
    for task, score in read_scores(report).items():
        measure, metric = score.main()
        lines.append(f"  task             {metric.text()} {measure}  {task}")
    lines += [
        f"  model            {folder.hf}",
        f"  report           {folder.report}",
        f"  metrics          {folder.metrics}",
        f"  logs             {folder.logs}",
        f"  sample           {report['sample']['prompt']!r} -> {report['sample']['completion']!r}",
        f"  one page         ipt report {folder.root}",
    ]
    return lines


def counts_below(manifest: Manifest, prefix: str) -> Counter[str]:
    """Counts of a stage whose names begin with `prefix` and a dot, by what follows."""
    return Counter(
        {
            name.removeprefix(f"{prefix}."): count
            for name, count in manifest.counts.items()
            if name.startswith(f"{prefix}.")
        }
    )


def _by_reason(dropped: dict[str, int]) -> str:
    ordered = sorted(dropped.items(), key=lambda item: -item[1])
    return ", ".join(f"{reason} {count:,}" for reason, count in ordered if count) or "none"
