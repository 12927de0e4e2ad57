"""The tasks stage: task data of several formats as chains of one shot each, a folder a data set.

    collection/*.jsonl ─┐                                    tasks/race/part-00000000.*
    train-v2.0.json    ─┼─▶ examples ─▶ pool ─▶ chosen ─▶    tasks/squad/part-00000000.*
    filtered/          ─┘      │         (merged)  │         tasks/dropped/race/part-00000000.*
                               └── bad items       └── contaminated.SET, over_max_examples

All is read before anything is written, as any record may add pairs to a context. Parts follow from
inputs and settings alone: a run that was killed reads again and writes the parts that are missing.

The first part of a data set reports what was dropped of it; the first part of all reports what
belongs to no data set that is written. An example counts once, however many records it is from.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.contracts import Chain, Pair, Shot, chain_id
from pipeline.decontamination.building import load_eval_index
from pipeline.decontamination.index import EvalIndex
from pipeline.errors import InputError
from pipeline.ingest.readers import InputFile, describe_inputs
from pipeline.opening import open_stage
from pipeline.progress import StageProgress
from pipeline.shards import write_shard
from pipeline.stage import FileEntry, Manifest, PartCommit, StageFolder
from synth.task_data.config import TasksConfig
from synth.task_data.inputs import list_task_inputs
from synth.task_data.leaving import LeaveOut
from synth.task_data.pool import ExamplePool, PooledExample
from synth.task_data.reading import Ledger, TaskReader, dropped_record

_EXCERPT_CHARS = 200


def run_tasks(config: TasksConfig, folder: str) -> Manifest:
    """Write all task data below `folder`; continue where a killed run stopped.

    Args:
        config: the task data, and what of it is taken.
        folder: folder for the chains.

    Raises:
        InputError: a path that is not there, a file that is not of the format it is said to be,
            or no usable example at all.
        DamagedInputError: a truncated or corrupt file.
        StaleStageError: `folder` was written from other inputs or settings.
    """
    files, keys = _list_inputs(config)
    index = load_eval_index(config.decontamination)
    if not index.is_empty:
        keys["decontamination"] = index.fingerprint()
    stage = open_stage(folder, "tasks", _settings(config), keys)
    if done := stage.finished():
        return done
    for line in index.describe().splitlines():
        print(f"tasks   {line}", flush=True)
    pool, ledger = ExamplePool(), Ledger()
    _read_sources(config, files, pool, ledger)
    chosen = _choose(config, index, pool, ledger)
    if not chosen:
        raise InputError(
            f"the inputs hold no usable example; look at `leave_out`, at the evaluation sets, and "
            f"at the reasons: {_reasons(ledger)}"
        )
    _PartWriter(config, stage, pool, ledger).write(chosen)
    return stage.close()


def _list_inputs(config: TasksConfig) -> tuple[dict[str, list[InputFile]], dict[str, str]]:
    files: dict[str, list[InputFile]] = {}
    stage_keys: dict[str, str] = {}
    for name, source in config.sources.items():
        files[name], keys = list_task_inputs(source)
        stage_keys |= {f"{name}/stage/{number}": key for number, key in enumerate(keys)}
    return files, describe_inputs(files) | stage_keys


def _settings(config: TasksConfig) -> dict[str, Any]:
    """What decides the examples, beside the files; the order of sources decides that of pairs.

    Where the files lie does not, nor those of a stage, which is known by its key.
    """
    settings = config.model_dump()
    for source in settings["sources"].values():
        del source["inputs"]
    return settings | {
        "decontamination": config.decontamination.content_fields(),
        "sources_order": list(config.sources),
    }


def _read_sources(
    config: TasksConfig,
    files: Mapping[str, Sequence[InputFile]],
    pool: ExamplePool,
    ledger: Ledger,
) -> None:
    leave_out = LeaveOut(config.leave_out)
    reader = TaskReader(leave_out, pool, ledger)
    with StageProgress("tasks", "records", None) as progress:
        for name, source in config.sources.items():
            reader.read(name, source, files[name], progress)
    pool.rank()
    first = next(iter(config.sources))
    for pattern in leave_out.unmatched():
        ledger.counts[first][f"left_out_nothing.{pattern}"] += 1
        print(f"tasks   leave_out: {pattern!r} is none of the data sets", flush=True)


def _choose(
    config: TasksConfig, index: EvalIndex, pool: ExamplePool, ledger: Ledger
) -> dict[str, list[int]]:
    """Numbers in the pool of the examples to write, by data set, those with most pairs first."""
    chosen = {}
    for dataset in pool.datasets():
        taken: list[int] = []
        for number, num_pairs in pool.ranked(dataset):
            if len(taken) == config.max_examples:
                ledger.drop(dataset, "over_max_examples", num_pairs)
            elif not index.is_empty and _is_contaminated(number, config, index, pool, ledger):
                continue
            else:
                taken.append(number)
        if taken:
            chosen[dataset] = taken
    return chosen


def _is_contaminated(
    number: int, config: TasksConfig, index: EvalIndex, pool: ExamplePool, ledger: Ledger
) -> bool:
    """Whether an example holds a piece of an evaluation set; it is counted and listed then."""
    example = pool.example(number)
    texts = [example.context, *map(_searched_text, _first_pairs(example, config))]
    overlap = index.find("\n".join(texts))
    if overlap is None:
        return False
    reason = f"contaminated.{overlap.eval_set}"
    ledger.drop(example.dataset, reason, len(example.pairs))
    excerpt = example.context[:_EXCERPT_CHARS]
    found = {"record_number": overlap.record, "ngram": overlap.ngram}
    pool.note_dropped(example.dataset, dropped_record(reason, example.place, excerpt, **found))
    return True


def _first_pairs(example: PooledExample, config: TasksConfig) -> tuple[Pair, ...]:
    return example.pairs[: config.max_pairs or None]


def _searched_text(pair: Pair) -> str:
    return "\n".join((pair.instruction, *pair.options, pair.reasoning, pair.response))


def _reasons(ledger: Ledger) -> str:
    reasons: Counter[str] = Counter()
    for counts in ledger.dropped.values():
        reasons.update(counts)
    return ", ".join(f"{reason} {count}" for reason, count in reasons.most_common()) or "no record"


class _PartWriter:
    """Writes and commits the parts that are missing."""

    def __init__(
        self, config: TasksConfig, stage: StageFolder, pool: ExamplePool, ledger: Ledger
    ) -> None:
        self._config, self._stage, self._pool, self._ledger = config, stage, pool, ledger

    def write(self, chosen: Mapping[str, Sequence[int]]) -> None:
        committed, first_dataset = self._stage.committed(), next(iter(chosen))
        size = self._config.examples_per_part
        for dataset, numbers in chosen.items():
            reported = [
                folder
                for folder in self._ledger.folders()
                if folder == dataset or (dataset == first_dataset and folder not in chosen)
            ]
            for index, start in enumerate(range(0, len(numbers), size)):
                part = f"{dataset}/part-{index:08d}"
                if part not in committed:
                    self._write_part(part, numbers[start : start + size], reported)
                reported = []

    def _write_part(self, part: str, numbers: Sequence[int], reported: Sequence[str]) -> None:
        """Write a part; the first one of a data set reports what some folders' ledgers say."""
        dropped, counts = Counter[str](), Counter[str]()
        if part.endswith("/part-00000000"):
            counts["datasets"] = 1
        with write_shard(self._stage.folder, f"{part}.jsonl.zst") as shard:
            for number in numbers:
                example = self._pool.example(number)
                pairs = _first_pairs(example, self._config)
                shard.write(_chain(example, pairs))
                counts["pairs"] += len(pairs)
                counts.update(f"pairs.{pair.kind}" for pair in pairs)
                if len(pairs) < len(example.pairs):
                    counts["pairs_dropped.over_max_pairs"] += len(example.pairs) - len(pairs)
        for folder in reported:
            dropped.update(self._ledger.dropped[folder])
            counts.update(self._ledger.counts[folder])
        self._stage.commit(
            PartCommit(
                part=part,
                files=[shard.entry(), *self._list_dropped(reported)],
                records_in=len(numbers) + dropped.total(),
                records_out=len(numbers),
                dropped=dict(dropped),
                counts=dict(counts),
            )
        )

    def _list_dropped(self, folders: Sequence[str]) -> Iterator[FileEntry]:
        for folder in folders:
            records = self._pool.dropped(folder)
            first = next(records, None)
            if first is None:
                continue
            name = f"dropped/{folder}/part-00000000.jsonl.zst"
            with write_shard(self._stage.folder, name) as shard:
                shard.write(first)
                for record in records:
                    shard.write(record)
            yield shard.entry()


def _chain(example: PooledExample, pairs: tuple[Pair, ...]) -> Chain:
    place = example.place
    provenance = {"made_by": "task data", "format": place.format, "source": place.source}
    shot = Shot(example.id, example.context, pairs)
    return Chain(chain_id([example.id]), example.dataset, (shot,), provenance)
