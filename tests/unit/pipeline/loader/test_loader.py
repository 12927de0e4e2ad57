"""The n-th row is the same whoever asks: any rank, any number of them, after any resume."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.loader.batch import IGNORE_LABEL, Batch
from pipeline.loader.loader import Loader
from pipeline.loader.packed import SOURCES_FILE, PackedRows, open_rows
from pipeline.loader.run import RunRows
from pipeline.loader.stream import BatchStream
from pipeline.mixture.config import MixtureConfig
from pipeline.mixture.planning import plan_schedule
from tests.packed import pack_documents, write_packed

SEQ_LEN, PER_FRAME, ROWS_PER_BATCH = 16, 3, 24
FIELDS = ("input_ids", "labels", "positions", "segment_ids", "source_ids")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> PackedRows:
    """Three sources; no row of a source is like another."""
    random = np.random.default_rng(0)
    parts = {}
    for source, sizes in {"a": [40, 1, 31], "b": [20, 26], "c": [7]}.items():
        number = 0
        parts[source] = []
        for size in sizes:
            documents = []
            for _ in range(size):
                lengths = [5, 8, 3] if random.random() < 0.5 else [16]
                documents += [np.arange(n, dtype=np.uint16) + 16 * number for n in lengths]
                number += 1
            parts[source].append(pack_documents(documents, SEQ_LEN))
    return write_packed(tmp_path_factory.mktemp("rows"), parts, PER_FRAME)


def make(rows: PackedRows, num_threads: int = 0, **settings: object) -> Loader:
    config = MixtureConfig(**{"weights": {"a": 5, "b": 2, "c": 1}, "block_rows": 50} | settings)
    return Loader(
        rows,
        plan_schedule(config, rows.sizes, 5000, seed=5),
        window_frames=2,
        num_threads=num_threads,
    )


def assert_equal(found: Batch, expected: Batch) -> None:
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def together(batches: list[Batch]) -> Batch:
    return Batch(*(np.concatenate([getattr(batch, name) for batch in batches]) for name in FIELDS))


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("num_threads", [0, 1, 3])
def test_the_same_global_batch_on_any_number_of_ranks(
    rows: PackedRows, num_ranks: int, num_threads: int
) -> None:
    whole, other = make(rows), make(rows, num_threads)
    for step in (0, 1, 7, 100):
        first = step * ROWS_PER_BATCH
        shares = [
            other.rank_batch(first, ROWS_PER_BATCH, rank, num_ranks) for rank in range(num_ranks)
        ]
        assert_equal(together(shares), whole.rows(first, ROWS_PER_BATCH))


@pytest.mark.parametrize(("num_ranks", "micro_rows"), [(5, 1), (7, 2), (3, 5), (32, 1)])
def test_ranks_that_do_not_divide_the_batch_are_filled_with_rows_without_loss(
    rows: PackedRows, num_ranks: int, micro_rows: int
) -> None:
    loader = make(rows)
    shares = [
        loader.rank_batch(48, ROWS_PER_BATCH, rank, num_ranks, micro_rows)
        for rank in range(num_ranks)
    ]
    assert len({share.num_rows for share in shares}) == 1
    assert shares[0].num_rows % micro_rows == 0
    batch = together(shares)
    assert_equal(batch.slice(0, ROWS_PER_BATCH), loader.rows(48, ROWS_PER_BATCH))
    filler = batch.slice(ROWS_PER_BATCH, batch.num_rows)
    assert filler.num_rows > 0
    assert (filler.labels == IGNORE_LABEL).all()


def test_an_epoch_of_each_source_has_every_row_once(rows: PackedRows) -> None:
    loader = make(rows)
    batch = loader.rows(0, 1600)
    for number, name in enumerate(loader.mixture.names):
        drawn = [row.tobytes() for row in batch.input_ids[batch.source_ids == number]]
        size = rows.sizes.num_rows[name]
        for epoch in range(len(drawn) // size):
            ids = drawn[epoch * size : (epoch + 1) * size]
            assert len(set(ids)) == size
        assert len(drawn) >= size


def test_other_sources_do_not_change_the_order_of_one(rows: PackedRows) -> None:
    alone, mixed = make(rows, weights={"b": 1}), make(rows)
    batch = mixed.rows(0, 400)
    drawn = batch.input_ids[batch.source_ids == 1]
    np.testing.assert_array_equal(alone.rows(0, len(drawn)).input_ids, drawn)


CONFIG = MixtureConfig(weights={"a": 5, "b": 2, "c": 1}, block_rows=50, window_frames=2)


def stream_of(rows: PackedRows, num_threads: int = 0, **options: int) -> BatchStream:
    run = RunRows(rows, CONFIG, total_rows=5000, seed=5, num_threads=num_threads)
    return BatchStream(run, ROWS_PER_BATCH, **options)


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_a_stream_resumes_at_every_step_on_any_number_of_ranks(
    rows: PackedRows, ahead: int
) -> None:
    num_steps = 20
    expected = [make(rows).rows(step * ROWS_PER_BATCH, ROWS_PER_BATCH) for step in range(num_steps)]
    stream = stream_of(rows, 1, ahead=ahead, end_row=num_steps * ROWS_PER_BATCH)
    states = []
    for batch, wanted in zip(stream, expected, strict=True):
        assert_equal(batch, wanted)
        states.append(stream.state_dict())
    with pytest.raises(StopIteration):
        next(stream)
    for step, state in enumerate(states[:-1]):
        num_ranks = (1, 2, 3, 4, 8)[step % 5]
        shares = []
        for rank in range(num_ranks):
            resumed = stream_of(rows, ahead=ahead, rank=rank, num_ranks=num_ranks)
            resumed.load_state_dict(state)
            shares.append(next(resumed))
            resumed.close()
        assert_equal(together(shares), expected[step + 1])


def test_changed_weights_take_effect_at_once_and_replay(rows: PackedRows) -> None:
    def run(stream: BatchStream, steps: range) -> list[Batch]:
        found = []
        for step in steps:
            if step in (3, 4, 9):
                stream.change_weights([1.0, float(step), 2.0])
            found.append(next(stream))
        return found

    plain = run(stream_of(rows), range(3))
    stream = stream_of(rows, 1, ahead=3)
    whole = run(stream, range(12))
    stream.close()
    for before, untouched in zip(whole, plain, strict=False):
        assert_equal(before, untouched)
    assert (np.bincount(together(whole[9:]).source_ids) > [0, 40, 0]).all()
    first = stream_of(rows, ahead=2)
    run(first, range(6))
    state = first.state_dict()
    first.close()
    assert [event["row"] for event in state["events"]] == [72, 96]
    second = stream_of(rows, ahead=2)
    second.load_state_dict(state)
    for found, expected in zip(run(second, range(6, 12)), whole[6:], strict=True):
        assert_equal(found, expected)
    second.close()


@pytest.mark.parametrize(
    "state", [{"steps": 3}, {"rows": "x"}, {"rows": -1}, {"rows": 1, "events": [{}]}]
)
def test_a_state_of_something_else_is_refused(rows: PackedRows, state: dict) -> None:
    with pytest.raises(InputError, match="not one that state_dict returned"):
        stream_of(rows).load_state_dict(state)


@pytest.mark.parametrize("ahead", [0, 2])
def test_a_damaged_shard_is_named_where_the_batch_is_taken(tmp_path: Path, ahead: int) -> None:
    documents = [np.arange(16, dtype=np.uint16) for _ in range(40)]
    rows = write_packed(tmp_path, {"a": [pack_documents(documents, SEQ_LEN)]}, PER_FRAME)
    shard = tmp_path / "a/train/part-00000000.rows.zst"
    data = bytearray(shard.read_bytes())
    data[30] ^= 0xFF
    shard.write_bytes(data)
    run = RunRows(rows, MixtureConfig(), total_rows=100)
    stream = BatchStream(run, ROWS_PER_BATCH, ahead=ahead, end_row=4 * ROWS_PER_BATCH)
    with pytest.raises(InputError, match=r"part-00000000\.rows\.zst: frame 0 is damaged"):
        list(stream)
    row = stream.rows
    with pytest.raises(InputError, match="frame 0 is damaged"):
        next(stream)  # neither hangs nor goes on behind it
    data[30] ^= 0xFF
    shard.write_bytes(data)
    assert next(stream).num_rows == ROWS_PER_BATCH, "what has been mended counts"
    assert stream.rows == row + ROWS_PER_BATCH
    stream.close()


def test_an_incomplete_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="packing is not complete"):
        open_rows(str(tmp_path))


def test_damaged_sizes_are_refused(tmp_path: Path) -> None:
    write_packed(tmp_path, {"a": [pack_documents([np.arange(16, dtype=np.uint16)], SEQ_LEN)]}, 2)
    sizes = tmp_path / SOURCES_FILE
    sizes.write_text(sizes.read_text().replace('"rows": 1', '"rows": 2'))
    with pytest.raises(InputError, match=r"table has 1 rows and sources\.json 2"):
        open_rows(str(tmp_path)).source("a")
    sizes.write_text("{}")
    with pytest.raises(InputError, match=r"sources\.json cannot be read"):
        open_rows(str(tmp_path))
