"""Rates of one's own: what the folder of a finished run tells of how fast it went.

    stage.json    written when a stage begins   ┐ wall time of the stage
    manifest.json written when it is complete   ┘
    part-*.json   written when a part is done     rate = work after the first part / time it took
    metrics.jsonl lines of synthesis, steps       rates without start and end

What a stage takes beside its work (`start_s`) is its wall time less work / rate. Times are those of
the files, so the run must be where it was written, and must have gone through without a stop.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from launch.planning.rates import Rate, RateReader, Rates, own_rate
from launch.planning.shape import shape_of_run, trained_model
from pipeline import storage
from pipeline.errors import InputError
from pipeline.run_folder import RunFolder
from pipeline.stage import MANIFEST_FILE, STAGE_FILE, Manifest, read_commits, read_manifest
from train.metrics import read_metrics

STAGES = ("ingest", "synth", "filter", "pack", "train")
_SAME_COMMAND_S = 60.0
_LONGEST_START_S = 600.0
"""Of training, beside its steps."""
_BULK = 0.85


@dataclass(frozen=True)
class StageTimes:
    """When a stage began and was complete, Unix time in s, and its parts."""

    begun_s: float
    ended_s: float
    commits_s: Mapping[str, float]

    @property
    def wall_s(self) -> float:
        """Seconds that it took, with what came between it and the stage before."""
        return self.ended_s - self.begun_s


@dataclass(frozen=True)
class RunMeasures:
    """What a run did, stage by stage."""

    times: Mapping[str, StageTimes]
    documents: int
    converted: int
    output_tokens: int
    packed_tokens: int
    bytes_by_folder: Mapping[str, int]


def measures_of(folder: RunFolder) -> RunMeasures:
    """Look at a finished run.

    Raises:
        InputError: it lies in an object store, or a stage up to training is not complete.
    """
    if not storage.is_local(folder.root):
        raise InputError(
            f"rates of {folder.root}: times are those of files, and an object store has others; "
            f"give a run on a file system, or --rates shipped"
        )
    manifests = _manifests(folder)
    ingest = manifests["ingest"]
    return RunMeasures(
        times=dict(_times(folder)),
        documents=ingest.records_out,
        converted=ingest.counts.get("convert", 0),
        output_tokens=manifests["synth"].counts.get("output_tokens", 0),
        packed_tokens=manifests["pack"].counts["tokens"],
        bytes_by_folder={
            name: sum(entry.bytes for entry in manifests[stage].parts)
            for name, stage in (
                ("documents", "ingest"),
                ("augmented", "synth"),
                ("filtered", "filter"),
                ("rows", "pack"),
            )
        }
        | {"checkpoints": _checkpoint_bytes(folder)},
    )


def rates_of_run(folder: RunFolder, rates: Rates) -> Rates:
    """The rates of a finished run, over those given.

    Raises:
        InputError: as `measures_of`.
    """
    measures, manifests = measures_of(folder), _manifests(folder)
    own = dict(_text_rates(measures, manifests, folder.root))
    document_tokens = own["text.document_tokens"].value
    text_bytes = measures.converted * document_tokens * rates.by_name["text.bytes_per_token"].value
    tokens_of = {
        name: commit.records_out * document_tokens
        for name, commit in read_commits(folder.documents).items()
    }
    own |= _part_rates("ingest", measures.times["ingest"], tokens_of, folder.root)
    own |= _synth_rates(folder, measures, text_bytes)
    pairs_of = {
        name: float(commit.counts.get("pairs", 0))
        for name, commit in read_commits(folder.augmented).items()
    }
    own |= _part_rates("filter", measures.times["filter"], pairs_of, folder.root, "pairs")
    tokens_of = {
        name: float(commit.counts["tokens"]) for name, commit in read_commits(folder.rows).items()
    }
    own |= _part_rates("pack", measures.times["pack"], tokens_of, folder.root)
    # Ray packed on all cores of that machine: it counts as one.
    own["node.cores"] = own_rate(1, "machines as that of the run", folder.root)
    own |= _train_rates(folder, measures, manifests, rates)
    return rates.with_own(own, folder.root)


def _manifests(folder: RunFolder) -> dict[str, Manifest]:
    folders = (folder.documents, folder.augmented, folder.filtered, folder.rows, folder.train)
    return {name: read_manifest(path) for name, path in zip(STAGES, folders, strict=True)}


def _times(folder: RunFolder) -> Iterator[tuple[str, StageTimes]]:
    before_s = 0.0
    folders = (folder.documents, folder.augmented, folder.filtered, folder.rows, folder.train)
    for name, path in zip(STAGES, folders, strict=True):
        begun_s = (Path(path) / STAGE_FILE).stat().st_mtime
        if 0 <= begun_s - before_s < _SAME_COMMAND_S:  # what `ipt run` did between the two
            begun_s = before_s
        ended_s = before_s = (Path(path) / MANIFEST_FILE).stat().st_mtime
        commits_s = {
            part: (Path(path) / f"{part}.json").stat().st_mtime for part in read_commits(path)
        }
        yield name, StageTimes(begun_s, ended_s, commits_s)


def _text_rates(
    measures: RunMeasures, manifests: Mapping[str, Manifest], run: str
) -> Iterator[tuple[str, Rate]]:
    tokens: Counter[str] = Counter()
    for entry in manifests["pack"].parts:
        tokens[entry.name.partition("/")[0].rpartition("-")[2]] += entry.tokens
    num_raw, num_converted = measures.documents - measures.converted, measures.converted
    augmented = tokens["augmented"] / num_converted if num_converted else 0.0
    document = tokens["raw"] / num_raw if num_raw else augmented
    pairs = max(0.0, augmented - document)
    num_augmented = max(1.0, num_converted * (document + pairs))
    sizes = measures.bytes_by_folder
    replies = measures.output_tokens / max(1, num_converted)
    num_pairs = manifests["synth"].counts.get("pairs", 0) / max(1, num_converted)
    for name, value, unit in (
        ("document_tokens", document, "tokens"),
        ("pair_tokens_per_document", pairs, "tokens"),
        ("pairs_per_document", num_pairs, "pairs"),
        ("output_tokens_per_document", replies, "tokens"),
        ("document_bytes_per_token", sizes["documents"] / (measures.documents * document), "bytes"),
        ("augmented_bytes_per_token", sizes["augmented"] / num_augmented, "bytes"),
        ("filtered_bytes_per_token", sizes["filtered"] / num_augmented, "bytes"),
        ("row_bytes_per_token", sizes["rows"] / measures.packed_tokens, "bytes"),
    ):
        yield f"text.{name}", own_rate(value, unit, run)


def _part_rates(
    stage: str, times: StageTimes, work_of: Mapping[str, float], run: str, unit: str = "tokens"
) -> dict[str, Rate]:
    """Rate between the first part and the last, and what the stage took beside that work."""
    ordered = sorted((at_s, work_of[part]) for part, at_s in times.commits_s.items())
    total = sum(work for _, work in ordered)
    if not total:  # nothing was to be done, which says nothing of how fast it goes
        return {f"{stage}.start_s": own_rate(times.wall_s, "s", run)}
    span_s = ordered[-1][0] - ordered[0][0] if len(ordered) > 2 else 0.0
    rate = (total - ordered[0][1]) / span_s if span_s > 0 else total / times.wall_s
    rate = max(rate, total / times.wall_s)
    return {
        f"{stage}.{unit}_per_s": own_rate(rate, f"{unit}/s", run),
        f"{stage}.start_s": own_rate(times.wall_s - total / rate, "s", run),
    }


def _synth_rates(folder: RunFolder, measures: RunMeasures, text_bytes: float) -> dict[str, Rate]:
    times, run = measures.times["synth"], folder.root
    lines = [line for line in read_metrics(folder.synth_metrics) if line["documents"]]
    if len({line["start"] for line in lines}) > 1:
        raise InputError(
            f"rates of {run}: synthesis was stopped and began again, so its times say nothing; "
            f"give a run that went through"
        )
    key = "output_tokens" if measures.output_tokens else "documents"
    unit = "output tokens/s of an engine" if measures.output_tokens else "bytes/s of the machine"
    total = measures.output_tokens or text_bytes
    name = "synth.engine_tokens_per_s" if measures.output_tokens else "synth.rules_bytes_per_s"
    points = [(line["elapsed_s"], line[key]) for line in lines]
    last = points[-1][1] if points else 0
    bulk = [point for point in points if point[1] <= _BULK * last]
    rate = total / times.wall_s
    if len(bulk) > 2 and bulk[-1][1] > bulk[0][1]:
        (first_s, first), (last_s, done) = bulk[0], bulk[-1]
        rate = max(rate, (done - first) / (last_s - first_s) * total / last)
    workers = max((line["workers"] for line in lines), default=1) if measures.output_tokens else 1
    return {
        name: own_rate(rate / max(1, workers), unit, run),
        "synth.start_s": own_rate(times.wall_s - total / rate, "s", run),
        "synth.over_bare_engine": own_rate(1, "share, as the rate is that of the stage", run),
        # Done beside the engine while the rate was measured.
        "synth.cpu_s_per_document": own_rate(0, "s, in the engine's rate already", run),
    }


def _train_rates(
    folder: RunFolder, measures: RunMeasures, manifests: Mapping[str, Manifest], rates: Rates
) -> dict[str, Rate]:
    run, times = folder.root, measures.times["train"]
    steps = [line for line in read_metrics(folder.metrics) if "time/step_s" in line]
    if not steps:
        raise InputError(
            f"{folder.metrics}: no step is noted, whose time a plan needs; give --rates of a run "
            f"that has them"
        )
    worked_s = sum(line["time/step_s"] + line.get("time/checkpoint_s", 0.0) for line in steps)
    if times.wall_s - worked_s > max(_LONGEST_START_S, worked_s):
        raise InputError(
            f"rates of {run}: training took {times.wall_s:,.0f} s, its steps {worked_s:,.0f} s; it "
            f"was stopped and began again, so its times say nothing; give a run that went through"
        )
    later = steps[1:] or steps  # the first one warms up
    step_s = sum(line["time/step_s"] for line in later) / len(later)
    step_tokens = round(steps[0]["perf/tokens_per_s"] * steps[0]["time/step_s"])
    packing = manifests["pack"].config
    size = trained_model(
        shape_of_run(manifests["train"].config["model"]),
        packing["tokenizer"],
        packing["seq_len"],
        rates,
        RateReader(rates),
    )
    pairs = step_tokens * (packing["seq_len"] + 1) / 2
    num_ranks, size_on_disk = _newest_checkpoint(folder)
    flops_per_s = size.flops.of(step_tokens, pairs) / step_s / num_ranks
    return {
        "train.rank_flops_per_s": own_rate(flops_per_s, "FLOPs/s of a rank", run),
        "train.start_s": own_rate(max(0.0, times.wall_s - len(steps) * step_s), "s", run),
        "train.checkpoint_bytes_per_parameter": own_rate(
            size_on_disk / size.parameters, "bytes", run
        ),
    }


def _newest_checkpoint(folder: RunFolder) -> tuple[int, int]:
    """Ranks that wrote it, and its bytes."""
    from train.checkpoints.marker import CheckpointMarker

    markers = sorted(Path(folder.checkpoints).glob("step-*.json"))
    if not markers:
        raise InputError(
            f"{folder.checkpoints}: no checkpoint is left, whose size and ranks a plan needs; give "
            f"--rates of a run that has one"
        )
    marker = markers[-1]
    files = marker.with_suffix("").rglob("*")
    size = sum(path.stat().st_size for path in files if path.is_file())
    return CheckpointMarker.model_validate_json(marker.read_bytes()).num_ranks, size


def _checkpoint_bytes(folder: RunFolder) -> int:
    files = Path(folder.checkpoints).rglob("*")
    return sum(path.stat().st_size for path in files if path.is_file())
