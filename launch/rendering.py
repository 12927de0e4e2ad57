"""`ipt render`: the augmented corpus as text, for people and for other trainers.

One schema in both formats, as `datasets.load_dataset` reads them:

    id             string
    source         string
    text           string
    document_ids   list<string>, never empty
    spans          list<struct<start: int64, end: int64, role: string>>, never empty

`spans` cover a text from its first character to its last. Their role is `instruction`, `response`
or `text` for all else: a raw text is one span. Were they empty there, a reader of JSON Lines that
begin with raw texts would infer a list of nulls and fail at the first instruction.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipeline import storage
from pipeline.contracts import RenderedText, decode_chain, decode_document, encode
from pipeline.errors import InputError
from pipeline.run_folder import RunFolder
from pipeline.shards import read_lines
from pipeline.stage import find_identity, read_commits, read_manifest
from synth.templates import ChainRenderer, render_document

_PARQUET_BATCH = 1024
_NEITHER = "text"


@dataclass(frozen=True)
class Layouts:
    """In which layouts the chains of a run are written; the fields are those of `[pack]`."""

    template_seed: int = 0
    template_folder: str = ""


def layouts_of(pack_config: Mapping[str, Any]) -> Layouts:
    """The layouts that a run was packed with, by the config of that stage; else the defaults."""
    return Layouts(
        int(pack_config.get("template_seed", 0)), str(pack_config.get("template_folder", ""))
    )


def render_run(folder: RunFolder, target: str, template_seed: int | None, *, with_raw: bool) -> int:
    """Write the texts of a run to `target` (`.jsonl` or `.parquet`), atomically.

    Args:
        folder: of a run whose chains are complete.
        target: path or URI of the file.
        template_seed: seed of the layouts; None: that which the run was packed with, or 0.
        with_raw: whether to write the raw documents too.

    Returns:
        Number of records written.

    Raises:
        InputError: the chains are not complete, `target` has another suffix, or there is no such
            folder of templates.
        StaleStageError: the documents were made anew since.
    """
    identity = find_identity(folder.rows)
    layouts = layouts_of(identity.config if identity is not None else {})
    if template_seed is not None:
        layouts = replace(layouts, template_seed=template_seed)
    records = _records(folder, layouts, with_raw=with_raw)
    if target.endswith(".jsonl"):
        return _write_json_lines(target, records)
    if target.endswith(".parquet"):
        return _write_parquet(target, records)
    raise InputError(f"output {target!r} must end in .jsonl or .parquet")


def rendered_folder(folder: RunFolder) -> str:
    """The folder whose chains are rendered: what the packing stage reads."""
    return folder.filtered if find_identity(folder.tasks) is None else folder.tasks


def _records(folder: RunFolder, layouts: Layouts, *, with_raw: bool) -> Iterator[dict[str, Any]]:
    chains, render = rendered_folder(folder), ChainRenderer(layouts.template_folder)
    manifest = read_manifest(chains)
    if "documents" in manifest.inputs:
        manifest.require_input("documents", read_manifest(folder.documents))
    for part in read_commits(chains):
        for line in read_lines(storage.join(chains, f"{part}.jsonl.zst")):
            chain = decode_chain(line)
            rendered = render(chain, layouts.template_seed)
            ids = [shot.doc_id for shot in chain.shots]
            yield _record(chain.id, chain.source, rendered, ids)
        if not with_raw or "documents" not in manifest.inputs:
            continue
        for line in read_lines(storage.join(folder.documents, f"{part}.jsonl.zst")):
            document = decode_document(line)
            if not document.is_converted:
                rendered = render_document(document)
                yield _record(document.id, document.source, rendered, [document.id])


def _record(
    identity: str, source: str, rendered: RenderedText, document_ids: list[str]
) -> dict[str, Any]:
    return {
        "id": identity,
        "source": source,
        "text": rendered.text,
        "document_ids": document_ids,
        "spans": list(_cover(rendered)),
    }


def _cover(rendered: RenderedText) -> Iterator[dict[str, Any]]:
    """The spans and what lies between them."""
    end = 0
    for span in rendered.spans:
        if span.start > end:
            yield {"start": end, "end": span.start, "role": _NEITHER}
        yield {"start": span.start, "end": span.end, "role": span.role}
        end = span.end
    if end < len(rendered.text):
        yield {"start": end, "end": len(rendered.text), "role": _NEITHER}


def _write_json_lines(target: str, records: Iterator[dict[str, Any]]) -> int:
    count = 0
    with storage.open_atomic(target) as file:
        for record in records:
            file.write(encode(record))
            count += 1
    return count


def _write_parquet(target: str, records: Iterator[dict[str, Any]]) -> int:
    import pyarrow
    import pyarrow.parquet

    schema = _parquet_schema()
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


def _parquet_schema() -> Any:
    import pyarrow

    text, position = pyarrow.string(), pyarrow.int64()
    span = pyarrow.struct({"start": position, "end": position, "role": text})
    return pyarrow.schema(
        {
            "id": text,
            "source": text,
            "text": text,
            "document_ids": pyarrow.list_(text),
            "spans": pyarrow.list_(span),
        }
    )
