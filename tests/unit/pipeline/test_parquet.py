"""Parquet files as other writers have them."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from pipeline.ingest.parquet import read_parquet


@pytest.mark.parametrize(
    "encoding", ["PLAIN", "RLE_DICTIONARY", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"]
)
@pytest.mark.parametrize("is_list", [False, True])
def test_parquet_reads_alike_however_texts_are_encoded(
    encoding: str, is_list: bool, tmp_path: Path
) -> None:
    values = [[f"text {number % 7}"] * 3 if is_list else f"text {number}" for number in range(300)]
    pyarrow.parquet.write_table(
        pyarrow.table({"text": [str(number) for number in range(300)], "x": values}),
        tmp_path / "a.parquet",
        use_dictionary=encoding == "RLE_DICTIONARY",
        column_encoding=None if encoding == "RLE_DICTIONARY" else encoding,
        row_group_size=128,
    )
    rows = list(read_parquet(str(tmp_path / "a.parquet"), 5, 2**20))
    assert [row.line for row in rows] == list(range(6, 301))
    assert [row.value["x"] for row in rows if row.value] == values[5:]
