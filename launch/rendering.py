"""`ipt render`: the augmented corpus as text, for people and for other trainers.

One schema, always: id, source, text, document_ids (all strings; the last a list of strings).
"""

from collections.abc import Iterator
from typing import Any

from pipeline import storage
from pipeline.contracts import decode_chain, decode_document, encode
from pipeline.errors import InputError
from pipeline.run_folder import RunFolder
from pipeline.shards import read_lines
from pipeline.stage import read_commits, read_manifest
from synth.templates import render_chain

_PARQUET_BATCH = 1024


def render_run(folder: RunFolder, target: str, template_seed: int, *, with_raw: bool) -> int:
    """Write the texts of a run to `target` (`.jsonl` or `.parquet`), atomically.

    Returns:
        Number of records written.

    Raises:
        InputError: synthesis is not complete, or `target` has another suffix.
    """
    records = _records(folder, template_seed, with_raw=with_raw)
    if target.endswith(".jsonl"):
        count = 0
        with storage.open_atomic(target) as file:
            for record in records:
                file.write(encode(record))
                count += 1
        return count
    if target.endswith(".parquet"):
        return _write_parquet(target, records)
    raise InputError(f"output {target!r} must end in .jsonl or .parquet")


def _records(folder: RunFolder, template_seed: int, *, with_raw: bool) -> Iterator[dict[str, Any]]:
    read_manifest(folder.augmented)
    for part in read_commits(folder.augmented):
        for line in read_lines(storage.join(folder.augmented, f"{part}.jsonl.zst")):
            chain = decode_chain(line)
            yield {
                "id": chain.id,
                "source": chain.source,
                "text": render_chain(chain, template_seed),
                "document_ids": [shot.doc_id for shot in chain.shots],
            }
        if not with_raw:
            continue
        for line in read_lines(storage.join(folder.documents, f"{part}.jsonl.zst")):
            document = decode_document(line)
            if not document.is_converted:
                yield {
                    "id": document.id,
                    "source": document.source,
                    "text": document.text,
                    "document_ids": [document.id],
                }


def _write_parquet(target: str, records: Iterator[dict[str, Any]]) -> int:
    import pyarrow
    import pyarrow.parquet

    text = pyarrow.string()
    schema = pyarrow.schema(
        {"id": text, "source": text, "text": text, "document_ids": pyarrow.list_(text)}
    )
    count = 0
    with storage.open_atomic(target) as file, pyarrow.parquet.ParquetWriter(file, schema) as writer:
        batch: list[dict[str, Any]] = []
        for record in records:
            batch.append(record)
            count += 1
            if len(batch) == _PARQUET_BATCH:
                writer.write_table(pyarrow.Table.from_pylist(batch, schema))
                batch = []
        writer.write_table(pyarrow.Table.from_pylist(batch, schema))
    return count
