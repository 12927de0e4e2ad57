"""Rows of Parquet files, however far these expand.

A dictionary page holds a text once, and the rows refer to it: some bytes of a file can stand for a
million long texts. So a row group is looked at first, one row of it, as it is stored:

    dictionaries of the usual size   ─▶  read in batches of few rows
    larger                           ─▶  read as it is stored, one row after the other made a record
"""

from collections.abc import Iterator
from typing import Any

from pipeline import storage
from pipeline.errors import DamagedInputError
from pipeline.ingest.records import RawRecord, row_record

_BATCH_ROWS, _BATCH_BYTES = 64, 64 * 2**20
# Writers end a column's dictionary at 1 MiB unless they are told otherwise.
_USUAL_DICTIONARY_BYTES = 2 * 2**20


def read_parquet(uri: str, skip: int, max_bytes: int) -> Iterator[RawRecord]:
    """Stream the rows of a file after the first `skip`; memory holds a page of each column.

    Args:
        uri: the file.
        skip: rows already done.
        max_bytes: a row whose texts are longer comes out as the problem `too_long`.

    Raises:
        DamagedInputError: the file is damaged, or its rows are far longer than `max_bytes`.
    """
    import pyarrow

    with storage.open_read(uri) as file:
        number = 0
        try:
            for rows, values in _row_groups(file, uri, skip, max_bytes):
                if values is None:
                    number += rows
                    continue
                for value in values:
                    number += 1
                    if number > skip:
                        yield row_record(uri, number, value, max_bytes)
        except pyarrow.ArrowException as error:
            raise DamagedInputError(
                f"{uri}: damaged Parquet near byte {file.tell()}, after row {number}: {error}; "
                f"fetch the file again or leave it out"
            ) from error


def _row_groups(
    file: Any, uri: str, skip: int, max_bytes: int
) -> Iterator[tuple[int, Iterator[dict[str, Any]] | None]]:
    """Number of rows and the rows of each row group; None for one that is passed over whole."""
    from pyarrow.parquet import ParquetFile

    plain = ParquetFile(file)
    leaves = [plain.schema.column(number) for number in range(len(plain.schema))]
    texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    stored = ParquetFile(file, metadata=plain.metadata, read_dictionary=texts)
    done = 0
    for group in range(plain.num_row_groups):
        found = plain.metadata.row_group(group)
        rows, size = found.num_rows, found.total_byte_size
        done += rows
        if done <= skip or not rows:
            yield rows, None
            continue
        if size > rows * max_bytes * 2:
            raise DamagedInputError(
                f"{uri}: {rows:,} rows up to row {done:,} have {size:,} bytes, more than "
                f"{max_bytes:,} each; leave the file out, or raise ingest.max_record_bytes"
            )
        batch = max(1, min(_BATCH_ROWS, _BATCH_BYTES * rows // max(1, size)))
        first = next(stored.iter_batches(batch_size=1, row_groups=[group]), None)
        is_usual = first is None or first.nbytes <= _USUAL_DICTIONARY_BYTES * max(1, len(texts))
        reader = plain if is_usual else stored
        yield rows, _rows(reader.iter_batches(batch_size=batch, row_groups=[group]), is_usual)


def _rows(batches: Iterator[Any], is_usual: bool) -> Iterator[dict[str, Any]]:
    for batch in batches:
        if is_usual:
            yield from batch.to_pylist()
            continue
        names = batch.schema.names
        for row in zip(*batch.columns, strict=True):
            yield {name: value.as_py() for name, value in zip(names, row, strict=True)}
