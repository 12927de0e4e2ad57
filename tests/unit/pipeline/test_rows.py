"""Row frames and the seekable files around them."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.rows import (
    RowBlock,
    decode_block,
    encode_block,
    join_layouts,
    token_dtype,
    write_rows,
)
from pipeline.seekable import DirectReader, open_seekable
from tests.packed import pack_documents

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=40)
FIELDS = ("segment_counts", "segment_lengths", "span_counts", "spans")


def make_block(lengths: list[int], seq_len: int) -> RowBlock:
    documents = [np.arange(length, dtype=np.uint16) + 1 for length in lengths]
    spans = [np.array([[0, length // 2]]) for length in lengths]
    return pack_documents(documents, seq_len, spans)


def assert_equal(found: RowBlock, expected: RowBlock) -> None:
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    for name in FIELDS:
        np.testing.assert_array_equal(
            getattr(found.layout, name), getattr(expected.layout, name), err_msg=name
        )


@given(LENGTHS, st.integers(8, 32))
def test_frames_round_trip(lengths: list[int], seq_len: int) -> None:
    block = make_block(lengths, seq_len)
    assert_equal(decode_block(encode_block(block), "x"), block)


@given(LENGTHS, st.integers(8, 32), st.randoms())
def test_rows_can_be_taken_in_any_order_and_joined(lengths, seq_len, random) -> None:
    block = make_block(lengths, seq_len)
    order = list(range(block.num_rows))
    random.shuffle(order)
    taken = block.layout.take(np.array(order))
    joined = join_layouts([block.layout.slice(row, row + 1) for row in order])
    assert_equal(RowBlock(block.tokens, taken), RowBlock(block.tokens, joined))


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
    with pytest.raises(InputError, match="has 3 frames, and frame 3 was asked for"):
        reader.read_frame(3)


def test_a_table_of_thousands_of_frames_is_read(tmp_path: Path) -> None:
    with write_rows(str(tmp_path), "a.rows.zst", rows_per_frame=1) as writer:
        writer.write(make_block([16] * 3000, 16))
    reader = open_seekable(str(tmp_path / "a.rows.zst"))
    assert reader.num_frames == 3000
    assert decode_block(reader.read_frame(2999), "x").num_rows == 1


@pytest.mark.parametrize("frame", [0, 1, 2])
def test_any_flipped_byte_is_named_by_shard_and_frame(shard: Path, frame: int) -> None:
    offsets = open_seekable(str(shard)).offsets
    intact, messages = shard.read_bytes(), set[str]()
    content = open_seekable(str(shard)).read_frame(frame)
    for place in range(int(offsets[frame]), int(offsets[frame + 1])):
        data = bytearray(intact)
        data[place] ^= 1
        shard.write_bytes(data)
        reader = open_seekable(str(shard))
        try:
            assert reader.read_frame(frame) == content  # zstd has bits that mean nothing
        except InputError as error:
            messages.add(str(error).partition(" (")[0])
        for other in {0, 1, 2} - {frame}:
            reader.read_frame(other)
    assert messages == {f"{shard}: frame {frame} is damaged"}


def test_threads_share_a_reader_that_keeps_few_files_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file holds one value, so that a descriptor used for another file would show."""
    monkeypatch.setattr("pipeline.seekable._OPEN_FILES", 2)
    for number in range(16):
        (tmp_path / str(number)).write_bytes(bytes([number]) * 512)
    reader, wrong = DirectReader(), list[int]()

    def read(seed: int) -> None:
        random = np.random.default_rng(seed)
        for number in random.integers(0, 16, 3000).tolist():
            if reader.read(str(tmp_path / str(number)), 5, 100) != bytes([number]) * 100:
                wrong.append(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(4)))  # raises what a thread has raised
    assert not wrong


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
