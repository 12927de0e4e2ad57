"""Rows of Parquet files, however far these expand.

A dictionary page holds a text once, and the rows refer to it: some bytes of a file can stand for a
million long texts. So a row group is looked at first, one row of it, as it is stored:

    dictionaries of the usual size   ─▶  read in batches of few rows
    larger, or of texts in lists     ─▶  read as it is stored, made records if that is not too much
    texts that share their beginnings (DELTA_BYTE_ARRAY)  ─▶  read row by row

Nothing shows how many values one row has in a list; a row group with very many is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline import storage
from pipeline.errors import DamagedInputError
from pipeline.ingest.records import RawRecord, row_record

_BATCH_ROWS, _BATCH_BYTES = 64, 64 * 2**20
# Writers end a column's dictionary at 1 MiB unless they are told otherwise.
_USUAL_DICTIONARY_BYTES = 2 * 2**20
_MAX_LIST_VALUES = 2**25
"""Values of a column of lists in a row group; some bytes of a file can stand for all of them, which
take 28 bytes each if they are of one row."""
_DICTIONARIES = {"RLE_DICTIONARY", "PLAIN_DICTIONARY"}


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
                    if number <= skip:
                        continue
                    if value is None:
                        yield RawRecord(uri, number, None, "too_long")
                    else:
                        yield row_record(uri, number, value, max_bytes)
        except pyarrow.ArrowException as error:
            raise DamagedInputError(
                f"{uri}: damaged Parquet near byte {file.tell()}, after row {number}: {error}; "
                f"fetch the file again or leave it out"
            ) from error


def _row_groups(
    file: Any, uri: str, skip: int, max_bytes: int
) -> Iterator[tuple[int, Iterator[dict[str, Any] | None] | None]]:
    """Number of rows and the rows of each row group; None for one that is passed over whole."""
    from pyarrow.parquet import ParquetFile

    plain = ParquetFile(file)
    done = 0
    for number in range(plain.num_row_groups):
        group = _RowGroup.of(plain, number)
        done += group.num_rows
        if done <= skip or not group.num_rows:
            yield group.num_rows, None
            continue
        _refuse_bomb(group, f"{uri}: {group.num_rows:,} rows up to row {done:,}", max_bytes)
        batch = group.batch_rows()
        stored = ParquetFile(file, metadata=plain.metadata, read_dictionary=group.referred_texts)
        first = next(stored.iter_batches(batch_size=1, row_groups=[number]), None)
        usual_bytes = _USUAL_DICTIONARY_BYTES * max(1, len(group.referred_texts))
        is_usual = not group.has_referred_lists and (first is None or first.nbytes <= usual_bytes)
        if is_usual:
            batches = plain.iter_batches(batch_size=batch, row_groups=[number])
            yield group.num_rows, (row for each in batches for row in each.to_pylist())
        else:
            batches = stored.iter_batches(batch_size=batch, row_groups=[number])
            yield group.num_rows, _rows_as_stored(batches, max_bytes)


@dataclass(frozen=True)
class _RowGroup:
    """What the file's footer says of a row group."""

    num_rows: int
    num_bytes: int
    """Decompressed, as encoded."""
    most_list_values: int
    """Of a column within lists."""
    fixed_bytes: int
    """Of a row on average, in columns whose values all have one length."""
    referred_texts: list[str]
    """Columns that refer to dictionaries."""
    has_referred_lists: bool
    """Whether such a column is within lists."""
    shares_beginnings: bool

    @classmethod
    def of(cls, file: Any, number: int) -> "_RowGroup":
        found = file.metadata.row_group(number)
        most_list_values, fixed_bytes = 0, 0
        referred_texts, has_referred_lists, shares_beginnings = [], False, False
        for index in range(found.num_columns):
            leaf, chunk = file.schema.column(index), found.column(index)
            is_list = leaf.max_repetition_level > 0
            encodings = set(chunk.encodings)
            if is_list:
                most_list_values = max(most_list_values, chunk.num_values)
            if leaf.physical_type == "FIXED_LEN_BYTE_ARRAY":
                per_row = -(-chunk.num_values // max(1, found.num_rows)) if is_list else 1
                fixed_bytes += leaf.length * per_row
            if leaf.physical_type != "BYTE_ARRAY":
                continue
            shares_beginnings |= "DELTA_BYTE_ARRAY" in encodings
            # Arrow cannot read what is encoded otherwise beside a dictionary as one.
            if encodings & _DICTIONARIES and not any(
                each.startswith("DELTA") for each in encodings
            ):
                referred_texts.append(leaf.path)
                has_referred_lists |= is_list
        return cls(
            found.num_rows,
            found.total_byte_size,
            most_list_values,
            fixed_bytes,
            referred_texts,
            has_referred_lists,
            shares_beginnings,
        )

    def batch_rows(self) -> int:
        """Rows that may be read at once."""
        if self.shares_beginnings:
            return 1
        per_row = max(self.fixed_bytes, self.num_bytes // self.num_rows, 1)
        return max(1, min(_BATCH_ROWS, _BATCH_BYTES // per_row))


def _refuse_bomb(group: _RowGroup, rows: str, max_bytes: int) -> None:
    """Refuse a row group whose rows could not be read in the memory of honest ones.

    Raises:
        DamagedInputError: says which limit.
    """
    num_bytes = max(group.num_bytes, 2 * group.fixed_bytes * group.num_rows)
    if num_bytes > group.num_rows * max_bytes * 2:
        raise DamagedInputError(
            f"{rows} have {num_bytes:,} bytes, more than {max_bytes:,} each; leave the file out, "
            f"or raise ingest.max_record_bytes"
        )
    if group.most_list_values > _MAX_LIST_VALUES:
        raise DamagedInputError(
            f"{rows} have {group.most_list_values:,} values in a column of lists, more than "
            f"{_MAX_LIST_VALUES:,}; write the file with fewer rows in a row group, or leave it out"
        )


def _rows_as_stored(batches: Iterator[Any], max_bytes: int) -> Iterator[dict[str, Any] | None]:
    """Rows of batches whose texts are references; None for one that would be too long."""
    for batch in batches:
        if _expanded_bytes(batch.to_struct_array()) <= _BATCH_BYTES:
            yield from batch.to_pylist()
            continue
        for number in range(batch.num_rows):
            row = batch.slice(number, 1)
            is_too_long = _expanded_bytes(row.to_struct_array()) > 2 * max_bytes
            yield None if is_too_long else row.to_pylist()[0]


def _expanded_bytes(array: Any) -> int:
    """About the bytes of an array once each reference is a text of its own."""
    import pyarrow
    from pyarrow import compute, types

    kind = array.type
    if types.is_dictionary(kind):
        lengths = compute.binary_length(array.dictionary)
        referred = compute.sum(compute.take(lengths, array.indices)).as_py() or 0
        return int(referred) + int(array.indices.nbytes)
    if types.is_struct(kind):
        return sum(_expanded_bytes(field) for field in array.flatten())
    if isinstance(array, pyarrow.ListArray | pyarrow.LargeListArray | pyarrow.FixedSizeListArray):
        return 8 * len(array) + _expanded_bytes(array.flatten())
    return int(array.nbytes)
