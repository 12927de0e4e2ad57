"""The ingest stage: read inputs in order, clean, identify, deduplicate, commit part by part.

    speeches/*.txt ──records──▶ passages ──new?──▶ documents/sotu/part-00000000.*
                       │                    │       documents/dropped/sotu/part-00000000.*
                       └── malformed, ...   ├── duplicate_text ──▶ (with file and line)
                                            └── contaminated   ──▶ (with the evaluation set)

A part holds about `docs_per_part` documents and ends between two input records. Its sidecar keeps
the cursor (input file, records done), from which a restarted run goes on.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline import storage
from pipeline.contracts import CONVERT, RAW, Document, decode_document, document_id, stable_share
from pipeline.decontamination.building import load_eval_index
from pipeline.decontamination.index import EvalIndex
from pipeline.errors import DamagedInputError, InputError
from pipeline.ingest.config import IngestConfig, SourceConfig
from pipeline.ingest.extraction import extract
from pipeline.ingest.growth import ingest_growth
from pipeline.ingest.readers import (
    InputFile,
    describe_inputs,
    list_inputs,
    read_records,
)
from pipeline.ingest.records import RawRecord
from pipeline.ingest.seen import SeenKeys
from pipeline.ingest.splitting import split_text
from pipeline.opening import open_stage
from pipeline.progress import StageProgress
from pipeline.shards import LineShardWriter, read_lines, write_shard
from pipeline.stage import Manifest, PartCommit, StageFolder

_EXCERPT_CHARS = 200


def run_ingest(config: IngestConfig, folder: str, allow_append: bool = False) -> Manifest:
    """Turn every source into document parts below `folder`; continue where a killed run stopped.

    Args:
        config: the corpora.
        folder: folder for the documents.
        allow_append: whether files and sources may have been added to those of `folder`.

    Raises:
        InputError: a path that is not there, or no usable document at all.
        DamagedInputError: a truncated or corrupt file. Nothing stays committed then but what was
            complete before files were added, so that the mended input starts afresh.
        StaleStageError: `folder` was written from other inputs or settings.
    """
    inputs = {name: list_inputs(source) for name, source in config.sources.items()}
    eval_index = load_eval_index(config.decontamination)
    keys = describe_inputs(inputs)
    if not eval_index.is_empty:
        keys["decontamination"] = eval_index.fingerprint()
    settings = config.model_dump() | {"decontamination": config.decontamination.content_fields()}
    stage = open_stage(folder, "ingest", settings, keys, ingest_growth(allow_append))
    if done := stage.finished():
        return done
    stage.adopt()
    for line in eval_index.describe().splitlines():
        print(f"ingest  {line}", flush=True)
    sources = [
        _SourceIngest(name, source, config, inputs[name], stage, eval_index)
        for name, source in config.sources.items()
    ]
    committed = [source.restore() for source in sources]
    try:
        for source, num_documents in zip(sources, committed, strict=True):
            source.run(num_documents)
    except DamagedInputError:
        # The mended file makes other inputs, for which these parts could not be used.
        if stage.before_growth() is not None:
            stage.revert()
        else:
            storage.remove_tree(folder)
        raise
    if not any(commit.records_out for commit in stage.committed().values()):
        reasons = _reasons(stage)
        storage.remove_tree(folder)
        raise InputError(
            f"the inputs hold no usable document; look at `text_field` and the reasons: {reasons}"
        )
    return stage.close()


def _reasons(stage: StageFolder) -> str:
    dropped: Counter[str] = Counter()
    for commit in stage.committed().values():
        dropped.update(commit.dropped)
    return ", ".join(f"{reason} {count}" for reason, count in dropped.most_common()) or "no record"


@dataclass
class _OpenPart:
    """What has gone into the part being written."""

    documents: LineShardWriter
    dropped: LineShardWriter
    reasons: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)

    def drop(self, record: RawRecord, reason: str, excerpt: str, **details: str | int) -> None:
        self.reasons[reason] += 1
        self.dropped.write(
            {
                "reason": reason,
                "file": record.file,
                "line": record.line,
                "excerpt": excerpt[:_EXCERPT_CHARS],
                **details,
            }
        )


class _SourceIngest:
    """One source from its inputs to its committed parts."""

    def __init__(
        self,
        name: str,
        source: SourceConfig,
        config: IngestConfig,
        files: list[InputFile],
        stage: StageFolder,
        eval_index: EvalIndex,
    ) -> None:
        self._name, self._source, self._config = name, source, config
        self._files, self._stage, self._eval_index = files, stage, eval_index
        self._seen = SeenKeys()
        self._file_number, self._records_done, self._num_parts = 0, 0, 0

    def run(self, num_documents: int) -> None:
        """Read on from the last commit, after `num_documents`, to the end of the inputs."""
        total_files = len(self._files)
        with StageProgress("ingest", "documents", None, num_documents) as progress:
            records = self._records()
            while (first := next(records, None)) is not None:
                num_documents += self._write_part(first, records)
                files = f"{min(self._file_number + 1, total_files)}/{total_files}"
                progress.update(num_documents, source=self._name, file=files)

    def restore(self) -> int:
        """Take up the cursor and the seen keys of committed parts; return their document count."""
        commits = [
            commit
            for part, commit in self._stage.committed().items()
            if part.startswith(f"{self._name}/")
        ]
        for commit in commits:
            self._file_number = commit.cursor["file"]
            self._records_done = commit.cursor["records"]
            for line in read_lines(self._stage.uri(commit.files[0].name)):
                self._remember(decode_document(line))
        self._num_parts = len(commits)
        return sum(commit.records_out for commit in commits)

    def _remember(self, document: Document) -> None:
        self._seen.add(bytes.fromhex(document.id))
        if (own_id := document.meta.get("id")) is not None:
            self._seen.add(_own_id_key(own_id))

    def _records(self) -> Iterator[RawRecord]:
        """All records after the cursor; the cursor moves as they are taken."""
        for number in range(self._file_number, len(self._files)):
            skip = self._records_done if number == self._file_number else 0
            self._file_number, self._records_done = number, skip
            file = self._files[number]
            for record in read_records(self._source, file, skip, self._config.max_record_bytes):
                self._records_done = max(self._records_done, record.line)
                if record.problem != "blank_line":
                    yield record

    def _write_part(self, first: RawRecord, more: Iterator[RawRecord]) -> int:
        """Write and commit one part, beginning with `first`; return its number of documents."""
        basename = f"part-{self._num_parts:08d}"
        with contextlib.ExitStack() as shards:
            folder, suffix = self._stage.folder, f"{basename}.jsonl.zst"
            part = _OpenPart(
                documents=shards.enter_context(write_shard(folder, f"{self._name}/{suffix}")),
                dropped=shards.enter_context(write_shard(folder, f"dropped/{self._name}/{suffix}")),
            )
            record: RawRecord | None = first
            while record is not None:
                part.counts["input_records"] += 1
                self._take(record, part)
                if part.documents.num_records >= self._config.docs_per_part:
                    break
                record = next(more, None)
        num_documents = part.documents.num_records
        self._stage.commit(
            PartCommit(
                part=f"{self._name}/{basename}",
                files=[part.documents.entry(), part.dropped.entry()],
                records_in=num_documents + part.reasons.total(),
                records_out=num_documents,
                dropped=dict(part.reasons),
                counts=dict(part.counts),
                cursor={"file": self._file_number, "records": self._records_done},
            )
        )
        self._num_parts += 1
        return num_documents

    def _take(self, record: RawRecord, part: _OpenPart) -> None:
        """Write one record's documents, or drop it with its reason."""
        if record.value is None:
            part.drop(record, record.problem, record.excerpt)
            return
        found = extract(record.value, self._source)
        if isinstance(found, str):
            part.drop(record, found, str(record.value)[:_EXCERPT_CHARS])
            return
        own_id = record.value.get(self._source.id_field)
        own_id = None if own_id == "" else own_id
        if own_id is not None and _own_id_key(str(own_id)) in self._seen:
            part.drop(record, "duplicate_id", f"id={own_id} {found.text}")
            return
        part.counts["repaired_bom"] += record.had_bom or found.had_bom
        part.counts["repaired_crlf"] += found.had_crlf
        meta = {"file": record.file.rpartition("/")[2], "line": str(record.line)} | found.meta
        if own_id is not None:
            meta["id"] = str(own_id)
        for number, passage in enumerate(split_text(found.text, self._source.split_chars)):
            if self._source.split_chars:
                meta = meta | {"passage": str(number)}
            self._take_passage(record, passage, meta, part)

    def _take_passage(
        self, record: RawRecord, text: str, meta: dict[str, str], part: _OpenPart
    ) -> None:
        identity = document_id(self._name, text)
        if bytes.fromhex(identity) in self._seen:
            part.drop(record, "duplicate_text", text)
            return
        if overlap := self._eval_index.find(text):
            part.counts[f"contaminated.{overlap.eval_set}"] += 1
            part.drop(
                record,
                "contaminated",
                text,
                set=overlap.eval_set,
                record_number=overlap.record,
                ngram=overlap.ngram,
            )
            return
        share = stable_share(identity, "convert")
        route = CONVERT if share < self._source.convert_fraction else RAW
        document = Document(identity, self._name, text, {"route": route} | meta)
        self._remember(document)
        part.documents.write(document)
        part.counts[route] += 1


def _own_id_key(own_id: str) -> bytes:
    return b"id:" + own_id.encode("utf-8", errors="surrogatepass")
