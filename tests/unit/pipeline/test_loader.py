"""Mixture and loader: the n-th row is the same whoever asks."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.loader import IGNORE_LABEL, Loader, RowOrder, RowSource, make_batch
from pipeline.mixture import make_mixture
from pipeline.packing import build_rows, plan_rows
from pipeline.rows import write_rows
from pipeline.stage import PartCommit, open_stage

SEQ_LEN = 8


@given(
    st.lists(st.floats(0.01, 10), min_size=1, max_size=5), st.integers(0, 5000), st.integers(1, 50)
)
def test_draws_do_not_depend_on_where_one_starts(
    weights: list[float], start: int, count: int
) -> None:
    names = {f"s{number}": weight for number, weight in enumerate(weights)}
    mixture = make_mixture(dict.fromkeys(names, 10), names, seed=3)
    sources, draws = mixture.draws(start, count)
    one_by_one = [mixture.draws(n, 1) for n in range(start, start + count)]
    np.testing.assert_array_equal(sources, np.concatenate([each[0] for each in one_by_one]))
    np.testing.assert_array_equal(draws, np.concatenate([each[1] for each in one_by_one]))


def test_shares_are_exact_and_draws_count_up() -> None:
    mixture = make_mixture({"a": 5, "b": 5, "c": 5}, {"a": 0.7, "b": 0.29, "c": 0.01}, seed=0)
    sources, draws = mixture.draws(0, 10 * mixture.block_rows)
    counts = np.bincount(sources)
    assert np.abs(counts - np.array(mixture.weights) * len(sources)).max() < 1
    for source in range(3):
        np.testing.assert_array_equal(draws[sources == source], np.arange(counts[source]))


def test_seeking_far_is_the_same_work() -> None:
    mixture = make_mixture({"a": 5, "b": 5}, {"a": 1, "b": 2}, seed=0)
    sources, draws = mixture.draws(10**12, 4)
    assert len(sources) == 4
    assert (np.abs(draws - 10**12 * np.array(mixture.weights)[sources]) < mixture.block_rows).all()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"x": 1.0}, "no such row source; packed are a, b, empty"),
        ({"a": 0.0}, "sum to 0"),
        ({"empty": 1.0}, "no training row"),
        ({"a": -1.0}, "must not be negative"),
    ],
)
def test_unusable_weights_say_what_to_do(weights: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_mixture({"a": 5, "b": 5, "empty": 0}, weights, seed=0)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=40), st.integers(0, 3))
def test_an_epoch_visits_every_row_once(frame_rows: list[int], epoch: int) -> None:
    order = RowOrder(np.array(frame_rows), seed=1, source_number=0)
    total = sum(frame_rows)
    visited = [order.locate(epoch * total + place) for place in range(total)]
    expected = [(frame, row) for frame, count in enumerate(frame_rows) for row in range(count)]
    assert sorted(visited) == expected


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Loader:
    folder = tmp_path_factory.mktemp("rows")
    stage = open_stage(str(folder), "pack", {"rows_per_frame": 3, "seq_len": SEQ_LEN}, {})
    for number, source in enumerate(["a", "b"]):
        lengths = [5, 3, 8, 11, 2, 2, 7] * 6
        documents = [np.arange(n, dtype=np.uint16) + 100 * (number + 1) for n in lengths]
        block = build_rows(documents, plan_rows(lengths, SEQ_LEN), SEQ_LEN, 0, np.dtype(np.uint16))
        with write_rows(str(folder), f"{source}/train/part-00000.rows.zst", 3) as writer:
            writer.write(block)
        stage.commit(
            PartCommit(
                part=f"{source}/part-00000", files=[writer.entry()], records_in=0, records_out=0
            )
        )
    manifest = stage.close()
    sources = [RowSource(str(folder), manifest, name, "train") for name in ("a", "b")]
    sizes = {name: source.num_rows for name, source in zip("ab", sources, strict=True)}
    return Loader(sources, make_mixture(sizes, {"a": 2, "b": 1}, seed=5))


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4, 8])
def test_same_global_batch_on_any_number_of_ranks(loader: Loader, num_ranks: int) -> None:
    for step in (0, 1, 7, 100):
        [whole] = loader.rank_batches(step, 24, 24, 0, 1)
        shares = [
            batch
            for rank in range(num_ranks)
            for batch in loader.rank_batches(step, 24, 24 // num_ranks // 3 or 1, rank, num_ranks)
        ]
        for name in ("input_ids", "labels", "positions", "segment_ids", "source_ids"):
            joined = np.concatenate([getattr(share, name) for share in shares])
            np.testing.assert_array_equal(joined, getattr(whole, name))


def test_ranks_must_divide_the_batch(loader: Loader) -> None:
    with pytest.raises(InputError, match="multiple of micro_rows x ranks"):
        next(loader.rank_batches(0, 24, 1, 0, 5))


def test_labels_stay_within_documents(loader: Loader) -> None:
    batch = loader.rows(0, 60)
    learned = batch.labels != IGNORE_LABEL
    assert learned.any()
    assert not learned[:, -1].any()
    rows, places = np.nonzero(learned)
    np.testing.assert_array_equal(batch.labels[learned], batch.input_ids[rows, places + 1])
    np.testing.assert_array_equal(
        batch.segment_ids[rows, places], batch.segment_ids[rows, places + 1]
    )
    # Documents here count up by one, so a label that crossed into another would show.
    np.testing.assert_array_equal(batch.labels[learned], batch.input_ids[learned] + 1)
    starts = batch.positions == 0
    assert (starts.sum(axis=1) >= 1).all()


def test_every_row_comes_round(loader: Loader) -> None:
    batch = loader.rows(0, 300)
    by_source = Counter(batch.source_ids.tolist())
    assert by_source[0] == pytest.approx(200, abs=15)


def test_loss_spans_are_the_only_tokens_learned() -> None:
    block = build_rows(
        [np.arange(8, dtype=np.uint16)], plan_rows([8], 8), 8, 0, np.dtype(np.uint16)
    )
    spanned = type(block)(
        block.tokens,
        block.segment_counts,
        block.segment_lengths,
        np.array([1], dtype=np.uint32),
        np.array([[3, 5]], dtype=np.uint32),
    )
    batch = make_batch([(spanned, 0)], np.zeros(1))
    assert batch.labels[0].tolist() == [-100, -100, 3, 4, -100, -100, -100, -100]
