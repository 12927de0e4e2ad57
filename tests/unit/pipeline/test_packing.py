"""Best-fit-decreasing packing, row frames and the seekable files around them."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.packing import build_rows, plan_rows
from pipeline.rows import RowBlock, decode_block, encode_block, token_dtype, write_rows
from pipeline.seekable import open_seekable

LENGTHS = st.lists(st.integers(0, 60), max_size=40)


@given(LENGTHS, st.integers(8, 32))
def test_every_token_exactly_once_and_no_needless_split(lengths: list[int], seq_len: int) -> None:
    rows = plan_rows(lengths, seq_len)
    assert all(sum(piece.length for piece in row) <= seq_len for row in rows)
    seen = [set() for _ in lengths]
    for piece in (piece for row in rows for piece in row):
        tokens = set(range(piece.start, piece.end))
        assert not seen[piece.document] & tokens
        seen[piece.document] |= tokens
        whole = piece.length == lengths[piece.document]
        assert whole or lengths[piece.document] > seq_len
    assert [len(tokens) for tokens in seen] == lengths


def test_best_fit_beats_the_order_of_arrival() -> None:
    rows = plan_rows([3, 11, 5, 4], 8)
    assert sorted(sorted(piece.length for piece in row) for row in rows) == [[3, 4], [3, 5], [8]]


def test_padding_at_realistic_sizes() -> None:
    lengths = np.random.default_rng(0).lognormal(6.2, 0.9, size=20_000).astype(int) + 1
    rows = plan_rows(lengths.tolist(), 2048)
    assert 1 - lengths.sum() / (len(rows) * 2048) < 0.001


def make_block(lengths: list[int], seq_len: int) -> RowBlock:
    documents = [np.arange(length, dtype=np.uint16) + 1 for length in lengths]
    return build_rows(documents, plan_rows(lengths, seq_len), seq_len, 0, token_dtype(100))


@given(LENGTHS.filter(any), st.integers(8, 32))
def test_frames_round_trip(lengths: list[int], seq_len: int) -> None:
    block = make_block(lengths, seq_len)
    read = decode_block(encode_block(block), "x")
    for name in ("tokens", "segment_counts", "segment_lengths", "span_counts", "spans"):
        np.testing.assert_array_equal(getattr(read, name), getattr(block, name))
    for row in range(block.num_rows):
        piece = block.slice(row, row + 1)
        np.testing.assert_array_equal(piece.row_segments(0), block.row_segments(row))


def test_token_type_follows_the_vocabulary() -> None:
    assert token_dtype(65_536).itemsize == 2
    assert token_dtype(65_537).itemsize == 4


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    with write_rows(str(tmp_path), "a.rows.zst", rows_per_frame=4) as writer:
        writer.write(make_block([16] * 10, 16))
    assert writer.entry().records == 10
    assert writer.entry().tokens == 160
    return tmp_path / "a.rows.zst"


def test_any_frame_is_one_read_away(shard: Path) -> None:
    reader = open_seekable(str(shard))
    assert reader.num_frames == 3
    assert decode_block(reader.read_frame(2), "x").num_rows == 2


def test_a_flipped_byte_is_named_by_shard_and_frame(shard: Path) -> None:
    offset = int(open_seekable(str(shard)).offsets[1]) + 12
    data = bytearray(shard.read_bytes())
    data[offset] ^= 1
    shard.write_bytes(data)
    reader = open_seekable(str(shard))
    reader.read_frame(0)
    with pytest.raises(InputError, match=r"a\.rows\.zst: frame 1 is damaged"):
        reader.read_frame(1)


@pytest.mark.parametrize("size", [0, 5, 100])
def test_a_truncated_shard_is_named(shard: Path, size: int) -> None:
    shard.write_bytes(shard.read_bytes()[:size])
    with pytest.raises(InputError, match=r"a\.rows\.zst.*seek table"):
        open_seekable(str(shard))


@pytest.mark.skipif(shutil.which("zstd") is None, reason="the zstd command is not installed")
def test_the_zstd_command_reads_it(shard: Path) -> None:
    data = subprocess.run(["zstd", "-dc", str(shard)], capture_output=True, check=True).stdout
    reader = open_seekable(str(shard))
    assert data == b"".join(reader.read_frame(number) for number in range(reader.num_frames))
