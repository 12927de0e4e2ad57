"""Dropped records and pairs to read: a few of each reason, whatever their order in the shards."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import orjson

from launch.report.sampling import FewestHash, choose_parts
from launch.report.stages import StageFigures
from pipeline import storage
from pipeline.shards import read_lines

_EXAMPLES_PER_REASON = 3


@dataclass(frozen=True)
class DroppedRecord:
    """One dropped input record (`where` in the input) or pair (`where` is its document)."""

    where: str
    text: str
    """The record, or the pair's instruction."""
    response: str = ""
    style: str = ""


@dataclass
class DroppedExamples:
    """Examples by reason, and how many pairs of the documents read each style lost."""

    by_reason: dict[str, FewestHash[DroppedRecord]] = field(default_factory=dict)
    pairs_by_style: Counter[str] = field(default_factory=Counter)

    def offer(self, reason: str, record: DroppedRecord) -> None:
        """Take a record as a candidate to be shown."""
        kept = self.by_reason.setdefault(reason, FewestHash(_EXAMPLES_PER_REASON))
        kept.offer(f"{record.where}\0{record.text}", record)


def gather_dropped_records(ingest: StageFigures, max_records: int) -> DroppedExamples:
    """Examples of what ingest dropped, of at most `max_records` dropped records."""
    examples = DroppedExamples()
    counts = {part: sum(commit.dropped.values()) for part, commit in ingest.parts.items()}
    for part, quota in choose_parts(counts, max_records).items():
        uri = storage.join(ingest.folder, f"dropped/{part}.jsonl.zst")
        for line in itertools.islice(read_lines(uri), quota):
            record = orjson.loads(line)
            where = f"{record['file']}, record {record['line']}"
            examples.offer(record["reason"], DroppedRecord(where, str(record["excerpt"])))
    return examples


def _dropped_lines(stage: StageFigures, part: str) -> Iterator[bytes]:
    if part in stage.parts:
        for name in stage.parts[part].files_below("dropped"):
            yield from read_lines(storage.join(stage.folder, name))


def gather_dropped_pairs(
    stage: StageFigures, document_ids: Mapping[str, Set[str]]
) -> DroppedExamples:
    """Examples of the pairs that a stage dropped, of the documents read.

    Args:
        stage: synthesis or filter.
        document_ids: ids of the documents read, by part; they begin their part.
    """
    examples = DroppedExamples()
    for part, ids in document_ids.items():
        for line in _dropped_lines(stage, part):
            record: dict[str, Any] = orjson.loads(line)
            if record["doc_id"] not in ids:
                break  # both shards follow the order of the documents
            pair, style = record["pair"], record["style"]
            examples.pairs_by_style[style] += 1
            examples.offer(
                record["reason"],
                DroppedRecord(
                    where=f"document {record['doc_id']}",
                    text="\n".join([pair["instruction"], *(f"- {o}" for o in pair["options"])]),
                    response="\n".join(filter(None, (pair["reasoning"], pair["response"]))),
                    style=style,
                ),
            )
    return examples
