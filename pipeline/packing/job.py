"""The packing stage: documents and chains become fixed-length rows, per row source, part by part.

    documents/sotu/part-00000007  (raw)     ──▶ rows/sotu-raw/{train,heldout}/*
    filtered/sotu/part-00000007   (chains)  ──▶ rows/sotu-augmented/{train,heldout}/*

One input part gives one output part, so the rows do not depend on the number of workers. A stable
hash of each example's content id sends a small share to `heldout`. An index beside each shard names
the documents of every row, so that an audit can follow each one.
"""

import fnmatch
import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pipeline.cluster import explained_errors, ray_session
from pipeline.contracts import (
    Chain,
    Document,
    RenderedText,
    decode_chain,
    decode_document,
    stable_share,
)
from pipeline.errors import InputError
from pipeline.loader.packed import HELDOUT, TRAIN, write_tables
from pipeline.opening import Growth, open_stage
from pipeline.packing.config import LossOn, PackConfig
from pipeline.packing.plan import Piece, build_rows, plan_rows
from pipeline.packing.tokens import Tokeniser
from pipeline.progress import StageProgress
from pipeline.rows import ROWS_SUFFIX, write_rows
from pipeline.shards import read_lines, write_shard
from pipeline.stage import (
    FileEntry,
    Manifest,
    PartCommit,
    StageFolder,
    StageIdentity,
    read_commits,
    read_manifest,
)


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
    """Folders of the complete stages to pack."""

    documents: str
    augmented: str


@dataclass(frozen=True)
class _Example:
    """One text to pack: a raw document, or all shots of a chain."""

    id: str
    rendered: RenderedText
    document_ids: list[str]


@dataclass(frozen=True)
class _PackOrder:
    """Everything a worker needs."""

    config: PackConfig
    inputs: PackInputs
    stage_folder: str
    identity: StageIdentity
    render: Renderer


def run_pack(
    config: PackConfig,
    inputs: PackInputs,
    folder: str,
    render: Renderer,
    log_folder: str | None = None,
    allow_append: bool = False,
) -> Manifest:
    """Tokenise and pack everything that ingest and synthesis left.

    Args:
        config: row length, tokenizer, held-out share.
        inputs: folders of the complete ingest and filter stages.
        folder: folder for the rows.
        render: writes chains and documents as text.
        log_folder: local folder for a link to the workers' logs.
        allow_append: whether parts may have been added to the inputs.

    Raises:
        InputError: an input stage is not complete, or `folder` belongs to another config.
    """
    documents, augmented = read_manifest(inputs.documents), read_manifest(inputs.augmented)
    augmented.require_input("documents", documents)
    keys = {
        "documents": documents.input_key(),
        "augmented": augmented.input_key(),
        "templates": render.fingerprint(),
    }
    # A mapping's order counts here, and its fields do not show it.
    settings = config.model_dump() | {"loss_on_order": list(config.loss_on)}
    stage = open_stage(folder, "pack", settings, keys, Growth(allow_append))
    if done := stage.finished():
        return done
    stage.adopt()
    wanted = list(_list_parts(inputs))
    committed = stage.committed()
    todo = [part for part in wanted if part not in committed]
    if todo:
        Tokeniser(config.tokenizer)  # one that cannot be used is said here, not by a worker
        order = _PackOrder(config, inputs, folder, stage.identity, render)
        with ray_session(log_folder), explained_errors("pack", log_folder):
            _pack_parts(order, todo, len(wanted))
    require_trained_tokens(stage, config)
    _write_tables(stage, config)
    return stage.close(expected_parts=wanted)


def require_trained_tokens(stage: StageFolder, config: PackConfig) -> None:
    """Refuse `loss_on` for a source that has no pairs: nothing of it would be trained on.

    Raises:
        InputError: names the source and the remedy.
    """
    trained: Counter[str] = Counter()
    for part, commit in stage.committed().items():
        trained[part.rpartition("/")[0]] += commit.counts.get("trained_tokens", 0)
    for source in sorted(trained):
        if loss_on_of(config, source) is not None and not trained[source]:
            raise InputError(
                f"pack.loss_on: nothing of {source} would be trained on, its texts have no pairs; "
                f"name only sources that do, and remove {stage.folder}"
            )


def _write_tables(stage: StageFolder, config: PackConfig) -> None:
    commits = stage.committed().values()
    if not commits:  # nothing to pack: no need for the tokenizer either
        write_tables(stage.folder, stage.identity, [], (config.seq_len, 2, 1))
        return
    token_bytes = Tokeniser(config.tokenizer).dtype.itemsize
    write_tables(
        stage.folder,
        stage.identity,
        (entry for commit in commits for entry in commit.files),
        (config.seq_len, token_bytes, config.frame_rows(token_bytes)),
    )


def _list_parts(inputs: PackInputs) -> Iterator[str]:
    """Names of the parts to write: `SOURCE-raw/part-N` and `SOURCE-augmented/part-N`."""
    for part, commit in read_commits(inputs.documents).items():
        source, _, basename = part.partition("/")
        if commit.counts.get("raw"):
            yield f"{source}-raw/{basename}"
    for part, commit in read_commits(inputs.augmented).items():
        source, _, basename = part.partition("/")
        if commit.records_out:
            yield f"{source}-augmented/{basename}"


def _pack_parts(order: _PackOrder, todo: list[str], num_parts: int) -> None:
    import ray

    _quiet_ray_data()
    num_workers = min(len(todo), max(1, int(ray.cluster_resources().get("CPU", 1))))
    results = (
        ray.data.from_items([{"part": part} for part in todo], override_num_blocks=len(todo))
        .map_batches(
            _PackWorker,
            fn_constructor_args=(order,),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=num_workers),
            num_cpus=1,
        )
        .iter_rows()
    )
    num_done, num_tokens = num_parts - len(todo), 0
    with StageProgress("pack", "parts", num_parts, num_done) as progress:
        for row in results:
            num_done, num_tokens = num_done + 1, num_tokens + int(row["tokens"])
            progress.update(num_done, tokens=num_tokens)


def _quiet_ray_data() -> None:
    """Leave progress and errors to our own lines."""
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")  # read once, by the import
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its errors come as exceptions


class _PackWorker:
    """A Ray Data callable: a row names a part; the part is packed and committed."""

    def __init__(self, order: _PackOrder) -> None:
        self._order = order
        self._stage = StageFolder(order.stage_folder, order.identity)
        os.environ.setdefault("RAYON_NUM_THREADS", "1")  # the tokenizer's: a worker is one core
        self._tokeniser = Tokeniser(order.config.tokenizer)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        parts = [str(part) for part in batch["part"]]
        return {"part": parts, "tokens": [self._write_part(part) for part in parts]}

    def _write_part(self, part: str) -> int:
        if self._stage.is_committed(part):  # Ray retried a task whose work was done
            return 0
        source, _, basename = part.partition("/")
        examples: dict[str, list[_Example]] = {TRAIN: [], HELDOUT: []}
        for example in self._read_examples(source, basename):
            is_heldout = stable_share(example.id, "heldout") < self._order.config.heldout_fraction
            examples[HELDOUT if is_heldout else TRAIN].append(example)
        files: list[FileEntry] = []
        num_trained = 0
        for split, chosen in examples.items():
            entries, trained = self._write_split(source, split, basename, chosen)
            files, num_trained = files + entries, num_trained + trained
        num_documents = sum(
            len(example.document_ids) for split in examples.values() for example in split
        )
        rows = [entry for entry in files if entry.tokens]
        num_tokens = sum(entry.tokens for entry in rows)
        num_slots = sum(entry.records for entry in rows) * self._order.config.seq_len
        self._stage.commit(
            PartCommit(
                part=part,
                files=files,
                records_in=num_documents,
                records_out=num_documents,
                counts={
                    "examples": sum(map(len, examples.values())),
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
        if route == "raw":
            for line in read_lines(f"{inputs.documents}/{name}"):
                document = decode_document(line)
                if not document.is_converted:
                    yield _Example(document.id, render.document(document), [document.id])
        else:
            for line in read_lines(f"{inputs.augmented}/{name}"):
                chain = decode_chain(line)
                rendered = render(chain, self._order.config.template_seed)
                yield _Example(chain.id, rendered, [shot.doc_id for shot in chain.shots])

    def _write_split(
        self, source: str, split: str, basename: str, examples: list[_Example]
    ) -> tuple[list[FileEntry], int]:
        """Write the rows of one split and the index of their documents; count trained tokens."""
        config, folder = self._order.config, self._stage.folder
        loss_on = loss_on_of(config, source)
        texts = list(self._tokeniser.encode([example.rendered for example in examples], loss_on))
        tokens = [text.ids for text in texts]
        spans = [text.spans for text in texts if text.spans is not None]
        plan = shuffled(plan_rows([len(ids) for ids in tokens], config.seq_len), basename)
        dtype = self._tokeniser.dtype
        name = f"{source}/{split}/{basename}"
        with write_rows(folder, f"{name}{ROWS_SUFFIX}", config.frame_rows(dtype.itemsize)) as rows:
            if plan:
                pad_id = self._tokeniser.pad_id
                rows.write(build_rows(tokens, plan, config.seq_len, pad_id, dtype, spans or None))
        with write_shard(folder, f"{name}.index.jsonl.zst") as index:
            for row in plan:
                index.write(self._index_of(row, examples, has_responses=split == HELDOUT))
        return [rows.entry(), index.entry()], sum(text.num_trained for text in texts)

    def _index_of(
        self, row: list[Piece], examples: list[_Example], has_responses: bool
    ) -> list[dict[str, Any]]:
        """What is in a row: documents, and for evaluation also where which responses stand."""
        records, at = list[dict[str, Any]](), 0
        for piece in row:
            example = examples[piece.document]
            records.append({"documents": example.document_ids, "start": piece.start})
            if has_responses:
                shift = at - piece.start
                records[-1]["responses"] = [
                    [max(start, piece.start) + shift, min(end, piece.end) + shift, kind]
                    for start, end, kind in self._tokeniser.responses(example.rendered)
                    if start < piece.end and end > piece.start
                ]
            at += piece.length
        return records


def loss_on_of(config: PackConfig, source: str) -> LossOn | None:
    """What a row source is trained on; None: every token."""
    for pattern, loss_on in config.loss_on.items():
        if fnmatch.fnmatchcase(source, pattern):
            return loss_on
    return None


def shuffled(plan: list[list[Piece]], part: str) -> list[list[Piece]]:
    """The rows of a part in an order of their own: best fit leaves them longest document first."""
    seed = int(stable_share(part, "rows") * 2**63)
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(len(plan))
    return [plan[number] for number in order.tolist()]
