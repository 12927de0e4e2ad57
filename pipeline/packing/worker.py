"""One part of documents, chains or task data into rows: what a worker of the packing stage does.

    documents/sotu/part-00000007  (raw)     ──▶ rows/sotu-raw/{train,heldout}/*
    filtered/sotu/part-00000007   (chains)  ──▶ rows/sotu-augmented/{train,heldout}/*
    tasks/squad/part-00000000     (tasks)   ──▶ rows/squad-tasks/{train,heldout}/*

A stable hash of each example's content id sends a small share to `heldout`. An index beside each
shard names the documents of every row, so that an audit can follow each one.
"""

import fnmatch
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pipeline import storage
from pipeline.contracts import (
    Chain,
    Document,
    RenderedText,
    decode_chain,
    decode_document,
    is_held_out,
    stable_share,
    text_key,
)
from pipeline.loader.packed import HELDOUT, TRAIN
from pipeline.packing.config import LossOn, PackConfig
from pipeline.packing.few_shot import PackedExample, join_examples
from pipeline.packing.plan import Piece, build_rows, plan_rows
from pipeline.packing.tokens import Tokeniser
from pipeline.rows import ROWS_SUFFIX, write_rows
from pipeline.shards import read_lines, write_shard
from pipeline.stage import FileEntry, PartCommit, StageFolder, StageIdentity

RAW, AUGMENTED, TASKS = "raw", "augmented", "tasks"
"""Routes to rows: the last word of a row source's name."""


class Renderer(Protocol):
    """Writes what is packed as text; travels to the workers."""

    def __call__(self, chain: Chain, seed: int) -> RenderedText:
        """The text of a chain, in a layout drawn with `seed`."""
        ...

    def document(self, document: Document) -> RenderedText:
        """The text of a raw document."""
        ...

    def fingerprint(self) -> str:
        """Hash of everything that decides how chains read, but for the seed."""
        ...


@dataclass(frozen=True)
class PackInputs:
    """Folders of the complete stages to pack: documents and chains, or task data."""

    documents: str = ""
    augmented: str = ""
    tasks: str = ""

    def make_tokeniser(self, reference: str) -> Tokeniser:
        """The tokenizer for them: task data begin with BOS whatever the tokenizer's habit.

        Raises:
            InputError: it cannot be used.
        """
        return Tokeniser(reference, always_bos=bool(self.tasks))


@dataclass(frozen=True)
class PackOrder:
    """Everything a worker needs."""

    config: PackConfig
    inputs: PackInputs
    stage_folder: str
    identity: StageIdentity
    render: Renderer


@dataclass(frozen=True)
class _Example:
    """One text to pack: a raw document, or all shots of a chain."""

    id: str
    rendered: RenderedText
    document_ids: list[str]
    key: str
    """What decides whether it is held out."""


class PackWorker:
    """A Ray Data callable: a row names a part; the part is packed and committed."""

    def __init__(self, order: PackOrder) -> None:
        """Load the tokenizer."""
        self._order = order
        self._stage = StageFolder(order.stage_folder, order.identity)
        os.environ.setdefault("RAYON_NUM_THREADS", "1")  # the tokenizer's: a worker is one core
        self._tokeniser = order.inputs.make_tokeniser(order.config.tokenizer)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Pack the parts of a batch; says how many tokens each has."""
        parts = [str(part) for part in batch["part"]]
        return {"part": parts, "tokens": [self._write_part(part) for part in parts]}

    def _write_part(self, part: str) -> int:
        if self._stage.is_committed(part):  # Ray retried a task whose work was done
            return 0
        source, _, basename = part.partition("/")
        splits: dict[str, list[_Example]] = {TRAIN: [], HELDOUT: []}
        for example in self._read_examples(source, basename):
            is_heldout = is_held_out(example.key, self._order.config.heldout_fraction)
            splits[HELDOUT if is_heldout else TRAIN].append(example)
        files: list[FileEntry] = []
        num_examples, num_trained, num_dropped = sum(map(len, splits.values())), 0, 0
        for split, examples in splits.items():
            packed, dropped = self._encode(source, examples, has_responses=split == HELDOUT)
            files += self._write_split(f"{source}/{split}/{basename}", packed)
            num_trained += sum(example.num_trained for example in packed)
            num_dropped += dropped
        num_documents = sum(len(each.document_ids) for some in splits.values() for each in some)
        rows = [entry for entry in files if entry.tokens]
        num_tokens = sum(entry.tokens for entry in rows)
        num_slots = sum(entry.records for entry in rows) * self._order.config.seq_len
        self._stage.commit(
            PartCommit(
                part=part,
                files=files,
                records_in=num_documents,
                records_out=num_documents - num_dropped,
                dropped={"longer_than_a_row": num_dropped} if num_dropped else {},
                counts={
                    "examples": num_examples,
                    "tokens": num_tokens,
                    "padding": num_slots - num_tokens,
                    "trained_tokens": num_trained,
                },
            )
        )
        return num_tokens

    def _read_examples(self, source: str, basename: str) -> Iterator[_Example]:
        corpus, _, route = source.rpartition("-")
        inputs, name = self._order.inputs, f"{corpus}/{basename}.jsonl.zst"
        render = self._order.render
        if route == RAW:
            for line in read_lines(storage.join(inputs.documents, name)):
                document = decode_document(line)
                if not document.is_converted:
                    rendered = render.document(document)
                    yield _Example(document.id, rendered, [document.id], document.id)
            return
        folder = inputs.tasks if route == TASKS else inputs.augmented
        for line in read_lines(storage.join(folder, name)):
            chain = decode_chain(line)
            rendered = render(chain, self._order.config.template_seed)
            key = text_key(chain.shots[0].text) if route == TASKS else chain.id
            yield _Example(chain.id, rendered, [shot.doc_id for shot in chain.shots], key)

    def _encode(
        self, source: str, examples: Sequence[_Example], *, has_responses: bool
    ) -> tuple[list[PackedExample], int]:
        """Examples as tokens, and how many were dropped; those of a task data set joined."""
        loss_on = loss_on_of(self._order.config, source)
        texts = self._tokeniser.encode([example.rendered for example in examples], loss_on)
        packed = [
            PackedExample(
                example.id,
                text.ids,
                text.spans,
                example.document_ids,
                self._tokeniser.responses(example.rendered) if has_responses else None,
            )
            for example, text in zip(examples, texts, strict=True)
        ]
        if not source.endswith(f"-{TASKS}"):
            return packed, 0
        return join_examples(packed, self._order.config.seq_len)

    def _write_split(self, name: str, examples: Sequence[PackedExample]) -> list[FileEntry]:
        """Write the rows of one split and the index of their documents."""
        config, folder = self._order.config, self._stage.folder
        tokens = [example.ids for example in examples]
        spans = [example.spans for example in examples if example.spans is not None]
        lengths = [len(ids) for ids in tokens]
        plan = shuffled(plan_rows(lengths, config.seq_len), name.rpartition("/")[2])
        dtype = self._tokeniser.dtype
        with write_rows(folder, f"{name}{ROWS_SUFFIX}", config.frame_rows(dtype.itemsize)) as rows:
            if plan:
                pad_id = self._tokeniser.pad_id
                rows.write(build_rows(tokens, plan, config.seq_len, pad_id, dtype, spans or None))
        with write_shard(folder, f"{name}.index.jsonl.zst") as index:
            for row in plan:
                index.write(_index_of(row, examples))
        return [rows.entry(), index.entry()]


def _index_of(row: Sequence[Piece], examples: Sequence[PackedExample]) -> list[dict[str, Any]]:
    """What is in a row: documents, and for evaluation also where which responses stand."""
    records, at = list[dict[str, Any]](), 0
    for piece in row:
        example = examples[piece.document]
        records.append({"documents": example.document_ids, "start": piece.start})
        if example.responses is not None:
            shift = at - piece.start
            records[-1]["responses"] = [
                [max(start, piece.start) + shift, min(end, piece.end) + shift, kind]
                for start, end, kind in example.responses
                if start < piece.end and end > piece.start
            ]
        at += piece.length
    return records


def loss_on_of(config: PackConfig, source: str) -> LossOn | None:
    """What a row source is trained on; None: every token."""
    for pattern, loss_on in config.loss_on.items():
        if fnmatch.fnmatchcase(source, pattern):
            return loss_on
    return "pairs" if source.endswith(f"-{TASKS}") else None


def shuffled(plan: list[list[Piece]], part: str) -> list[list[Piece]]:
    """The rows of a part in an order of their own: best fit leaves them longest document first."""
    seed = int(stable_share(part, "rows") * 2**63)
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(len(plan))
    return [plan[number] for number in order.tolist()]
