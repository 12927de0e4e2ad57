"""Inputs that expand without end: refused or dropped by reason, in the memory of an honest input.

Each bomb is made here, byte by byte, and read by a process of its own whose peak memory is
measured. None would fit into the limits below if it were ever whole in memory.
"""

import gzip
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from pipeline.errors import InputError
from pipeline.loader.table import open_table
from pipeline.rows import RowBlock, RowLayout, decode_block, encode_block
from pipeline.seekable import open_seekable
from pipeline.shards import MAX_LINE_BYTES, read_lines
from pipeline.stage import read_manifest

ROOT = Path(__file__).resolve().parents[2]
# The process itself, with pyarrow, takes 200 MB; a regression that is not caught ends at the limit.
PEAK_BYTES, ADDRESS_SPACE_BYTES = 600 * 2**20, 12 * 2**30
BLOCK = 2**17
RAW, RLE = 0, 1


class Ended(NamedTuple):
    code: int
    output: str
    peak_bytes: int


def frame(*blocks: bytes, window: int = 0x38, content_size: int | None = None) -> bytes:
    """A zstd frame (RFC 8878): the last block must say that it is; a window of 128 KiB."""
    if content_size is not None:  # a single segment, whose size takes four bytes
        return struct.pack("<IBI", 0xFD2FB528, 0xA0, content_size) + b"".join(blocks)
    return struct.pack("<IBB", 0xFD2FB528, 0x00, window) + b"".join(blocks)


def block(kind: int, data: bytes, size: int = 0, *, is_last: bool = False) -> bytes:
    """A block of `data` as it is, or of one byte `size` times over."""
    header = (size or len(data)) << 3 | kind << 1 | is_last
    return header.to_bytes(3, "little") + data


def endless(start: bytes, num_bytes: int) -> bytes:
    """A zstd file that holds `start` and then so many letters, on one line."""
    filler = block(RLE, b"x", BLOCK) * (num_bytes // BLOCK)
    return frame(block(RAW, start), filler, block(RLE, b"x", 1, is_last=True))


# Of the kernel's two figures, the one that begins anew with a program: what a fork brought along
# from the tests' own process does not count.
MEASURED = """
import atexit, pathlib, resource
resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
def note_peak():
    status = pathlib.Path("/proc/self/status").read_text()
    print("peak_kib", status.partition("VmHWM:")[2].split()[0], flush=True)
atexit.register(note_peak)
"""


def run(code: str, *arguments: str) -> Ended:
    """Run Python with an address space that ends before the machine's memory does."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED.format(limit=ADDRESS_SPACE_BYTES) + code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        check=False,
    )
    output, said, peak_kib = done.stdout.rpartition("peak_kib")
    assert said, done.stdout
    return Ended(done.returncode, output, int(peak_kib) * 2**10)


def ingest(run_dir: Path, *paths: Path, max_record_bytes: int = 32 * 2**20) -> Ended:
    """`ipt ingest` of some files."""
    return run(
        "from launch.cli import main; main()",
        *("ingest", "quickstart", f"run.dir={run_dir}"),
        f"ingest.sources.sotu={{convert_fraction=0.5, inputs={list(map(str, paths))}}}",
        f"ingest.max_record_bytes={max_record_bytes}",
    )


def test_a_hundred_gigabytes_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(endless(b'{"text": "', 100 * 2**30))
    assert path.stat().st_size < 4 * 2**20
    ended = ingest(tmp_path / "run", path)
    assert ended.code == 2, ended.output
    assert f"{path}: line 1 goes on after" in ended.output
    assert "ingest.max_record_bytes" in ended.output
    assert ended.peak_bytes < PEAK_BYTES


def test_a_long_line_is_dropped_and_the_rest_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.zst"
    lines = endless(b'{"text": "', 2**30), zstandard.compress(b'"}\n{"text": "kept"}\n')
    path.write_bytes(b"".join(lines))
    ended = ingest(tmp_path / "run", path)
    assert ended.code == 0, ended.output
    manifest = read_manifest(str(tmp_path / "run" / "documents"))
    assert manifest.dropped == {"too_long": 1}
    assert manifest.records_out == 1
    assert ended.peak_bytes < PEAK_BYTES


def test_gzip_expands_no_further(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "') + gzip.compress(b"x" * 2**26, 1) * 40)
    ended = ingest(tmp_path / "run", path)
    assert ended.code == 2, ended.output
    assert "line 1 goes on after" in ended.output
    assert ended.peak_bytes < PEAK_BYTES


def test_an_endless_item_of_a_json_array(tmp_path: Path) -> None:
    path = tmp_path / "a.json.zst"
    path.write_bytes(endless(b'[{"text": "', 100 * 2**30))
    ended = ingest(tmp_path / "run", path)
    assert ended.code == 2, ended.output
    assert f"{path}: no whole JSON record of at most" in ended.output
    assert ended.peak_bytes < PEAK_BYTES


def test_a_frame_that_wants_two_gigabytes_to_be_remembered(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(frame(block(RLE, b"x", BLOCK, is_last=True), window=21 << 3))
    ended = ingest(tmp_path / "run", path)
    assert ended.code == 2, ended.output
    assert f"{path}: corrupt compressed data" in ended.output
    assert ended.peak_bytes < PEAK_BYTES


def test_rows_that_all_refer_to_one_long_text(tmp_path: Path) -> None:
    texts = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([1] + [0] * 2000, pyarrow.int32()), pyarrow.array(["x" * 2**23, "kept"])
    )
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(
        pyarrow.table({"text": texts}), path, dictionary_pagesize_limit=2**30, store_schema=False
    )
    assert path.stat().st_size < 2**20
    ended = ingest(tmp_path / "run", path, max_record_bytes=2**20)
    assert ended.code == 0, ended.output
    manifest = read_manifest(str(tmp_path / "run" / "documents"))
    assert manifest.dropped == {"too_long": 2000}
    assert manifest.records_out == 1
    assert ended.peak_bytes < PEAK_BYTES


def test_a_row_group_of_rows_that_are_all_too_long(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pyarrow.table({"text": ["x" * 2**22, "y" * 2**22]})
    pyarrow.parquet.write_table(table, path, use_dictionary=False)
    ended = ingest(tmp_path / "run", path, max_record_bytes=2**20)
    assert ended.code == 2, ended.output
    assert "2 rows up to row 2 have" in ended.output


def test_a_list_of_nothing_without_end(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    offsets = pyarrow.array([0, 2**26], pyarrow.int32())
    nothing = pyarrow.ListArray.from_arrays(offsets, pyarrow.nulls(2**26, pyarrow.int8()))
    pyarrow.parquet.write_table(pyarrow.table({"text": ["kept"], "n": nothing}), path)
    assert path.stat().st_size < 2000
    ended = ingest(tmp_path / "run", path)
    assert ended.code == 2, ended.output
    assert "values in a column of lists, more than" in ended.output
    assert ended.peak_bytes < PEAK_BYTES


def test_a_list_that_names_one_long_text_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    texts = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([0] * 20_000 + [1], pyarrow.int32()), pyarrow.array(["x" * 2**19, "short"])
    )
    lists = pyarrow.ListArray.from_arrays(
        pyarrow.array([0, 20_000, 20_001], pyarrow.int32()), texts
    )
    table = pyarrow.table({"text": ["lost", "kept"], "l": lists})
    pyarrow.parquet.write_table(table, path, store_schema=False)
    assert path.stat().st_size < 2**20
    ended = ingest(tmp_path / "run", path)
    assert ended.code == 0, ended.output
    manifest = read_manifest(str(tmp_path / "run" / "documents"))
    assert (manifest.dropped, manifest.records_out) == ({"too_long": 1}, 1)
    assert ended.peak_bytes < PEAK_BYTES


def test_columns_of_one_length_that_is_great(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    kind = pyarrow.binary(2**23)
    fixed = pyarrow.array([b"x" * 2**23], kind).take(pyarrow.array([0] * 8))
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"] * 8, "f": fixed}), path)
    assert path.stat().st_size < 2**21
    ended = ingest(tmp_path / "run", path, max_record_bytes=2**20)
    assert ended.code == 2, ended.output
    assert "8 rows up to row 8 have" in ended.output
    assert ended.peak_bytes < PEAK_BYTES


def test_texts_that_share_their_beginnings(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    texts = [*("x" * 2**21 + str(number) for number in range(200)), "kept"]
    pyarrow.parquet.write_table(
        pyarrow.table({"text": texts}),
        path,
        use_dictionary=False,
        column_encoding="DELTA_BYTE_ARRAY",
        compression="zstd",
    )
    assert path.stat().st_size < 2**17
    ended = ingest(tmp_path / "run", path, max_record_bytes=2**20)
    assert ended.code == 0, ended.output
    assert read_manifest(str(tmp_path / "run" / "documents")).dropped == {"too_long": 200}
    assert ended.peak_bytes < PEAK_BYTES


def test_nesting_is_dropped_by_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    nested = ['{"f": 0.5, "a": ' + "[" * depth + "]" * depth + "}" for depth in (50, 300, 1010)]
    (tmp_path / "b.json").write_text(f"[{', '.join(nested[:2])}]")
    path.write_text("\n".join(['{"text": "kept"}', *nested, "[" * 100_000]))
    ended = ingest(tmp_path / "run", path, tmp_path / "b.json")
    assert ended.code == 0, ended.output
    assert read_manifest(str(tmp_path / "run" / "documents")).dropped == {
        "missing_text": 2,
        "nested_too_deep": 3,
        "malformed_json": 1,
    }


def test_a_shard_from_elsewhere_with_a_line_without_end(tmp_path: Path) -> None:
    path = tmp_path / "part-00000000.jsonl.zst"
    path.write_bytes(endless(b'{"id": "', 100 * 2**30))
    with pytest.raises(InputError, match=f"{path}: a line has more than {MAX_LINE_BYTES:,} bytes"):
        next(iter(read_lines(str(path))))
    code = f"from pipeline.shards import read_lines; next(iter(read_lines({str(path)!r})))"
    ended = run(code)
    assert "InputError" in ended.output
    assert ended.peak_bytes < PEAK_BYTES + 2 * MAX_LINE_BYTES


@pytest.mark.parametrize("field", ["raw", "compressed"])
def test_frames_that_promise_gigabytes(tmp_path: Path, field: str) -> None:
    path = tmp_path / "part-00000000.rows.zst"
    data = frame(block(RLE, b"x", BLOCK, is_last=True), content_size=2**32 - 16)
    sizes = {"raw": (len(data), 2**32 - 16), "compressed": (2**32 - 16, 16)}[field]
    table = struct.pack("<IIIIBI", *sizes, 0, 1, 0x80, 0x8F92EAB1)
    path.write_bytes(data + struct.pack("<II", 0x184D2A5E, len(table)) + table)
    with pytest.raises(InputError, match=rf"promises a frame of 4,294,967,280 bytes \({field}\)"):
        open_seekable(str(path))


def test_a_seek_table_of_more_frames_than_there_can_be(tmp_path: Path) -> None:
    path = tmp_path / "part-00000000.rows.zst"
    path.write_bytes(b"x" * 100 + struct.pack("<IBI", 2**32 - 1, 0x80, 0x8F92EAB1))
    with pytest.raises(InputError, match=r"4,294,967,295 frames"):
        open_seekable(str(path))


@pytest.mark.parametrize("field", ["segment_counts", "segment_lengths", "span_counts", "spans"])
def test_rows_whose_documents_would_fill_the_memory(field: str) -> None:
    arrays = {
        "segment_counts": np.array([1], "<u4"),
        "segment_lengths": np.array([8], "<u4"),
        "span_counts": np.array([1], "<u4"),
        "spans": np.array([[2, 4]], "<u4"),
    }
    tokens = np.zeros((1, 8), "<u2")
    decode_block(encode_block(RowBlock(tokens, RowLayout(**arrays))), "x")
    arrays[field] = np.full_like(arrays[field], 2**32 - 1)
    with pytest.raises(InputError, match="reach beyond its rows"):
        decode_block(encode_block(RowBlock(tokens, RowLayout(**arrays))), "x")


def test_a_table_of_shards_that_promises_more_than_it_has(tmp_path: Path) -> None:
    header = b"{'descr': '<i8', 'fortran_order': False, 'shape': (3, 1000000000000000), }"
    header = header.ljust(117) + b"\n"
    path = tmp_path / "table.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\0" * 48)
    with pytest.raises(InputError, match="no usable table of shards"):
        open_table(str(path), 1)
