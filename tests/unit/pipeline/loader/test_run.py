"""A run whose sources grow: what was seen keeps its place, what is new joins."""

import shutil
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.loader.packed import PackedRows
from pipeline.loader.run import RunRows
from pipeline.loader.stream import BatchStream
from pipeline.mixture.config import MixtureConfig, OnlineConfig
from tests.packed import random_rows, write_packed

SEQ_LEN, PER_FRAME, ROWS_PER_BATCH = 8, 4, 10
PARTS = {"a": [30, 17, 21, 40], "b": [25, 13, 6]}
RATIO = MixtureConfig(ratio={"a": 2, "b": 1}, block_rows=32, window_frames=3)
BY_SIZE = MixtureConfig(block_rows=32, window_frames=3)


def packed(folder: Path, num_parts: dict[str, int]) -> PackedRows:
    """The first parts of each source; written anew into `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    parts = {
        source: [
            random_rows(PARTS[source][number], SEQ_LEN, 100 * ord(source) + number)
            for number in range(count)
        ]
        for source, count in num_parts.items()
    }
    return write_packed(folder, parts, PER_FRAME)


def stream_of(rows: PackedRows, config: MixtureConfig, allow_append: bool = False) -> BatchStream:
    run = RunRows(rows, config, 2000, seed=3, allow_append=allow_append, num_threads=0)
    return BatchStream(run, ROWS_PER_BATCH, ahead=0)


def serve(stream: BatchStream, num_batches: int) -> list[bytes]:
    """Each row as its source and tokens."""
    found = []
    for _ in range(num_batches):
        batch = next(stream)
        found += [
            bytes([source]) + ids.tobytes()
            for source, ids in zip(batch.source_ids.tolist(), batch.input_ids, strict=True)
        ]
    return found


@pytest.mark.parametrize("config", [RATIO, BY_SIZE])
@pytest.mark.parametrize("num_batches", [0, 3, 5, 11])
def test_grown_sources(tmp_path: Path, config: MixtureConfig, num_batches: int) -> None:
    folder = tmp_path / "rows"
    small = packed(folder, {"a": 2, "b": 2})
    stream = stream_of(small, config)
    before = serve(stream, num_batches)
    state = stream.state_dict()
    large = packed(folder, {"a": 4, "b": 3})
    if num_batches:
        with pytest.raises(InputError, match="go on with --allow-append"):
            stream_of(large, config).load_state_dict(state)
    grown = stream_of(large, config, allow_append=True)
    grown.load_state_dict(state)
    after = serve(grown, 40)
    again = stream_of(large, config, allow_append=True)
    again.load_state_dict(grown.state_dict() | {"rows": 0})
    assert serve(again, num_batches + 40) == before + after, "rows already seen lost their places"
    rows = large.sizes.num_rows
    for source, name in enumerate(rows):
        drawn = [row for row in before + after if row[0] == source]
        assert len(set(drawn)) == rows[name], "new rows never came"
        first = drawn[: rows[name]]
        seen_twice = len(first) - len(set(first))
        # More than once before all have come only if an epoch had ended before it grew.
        assert seen_twice <= max(0, len([r for r in before if r[0] == source]) - 1)
    # A later start finds nothing new and goes on, allowed or not.
    third = stream_of(large, config)
    third.load_state_dict(grown.state_dict())
    assert serve(third, 1) == serve(grown, 1)


def test_growing_twice_and_changing_weights_between(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    stream = stream_of(packed(folder, {"a": 1, "b": 1}), RATIO)
    served = serve(stream, 2)
    for count in (2, 3):
        state = stream.state_dict()
        stream = stream_of(packed(folder, {"a": count, "b": count}), RATIO, allow_append=True)
        stream.load_state_dict(state)
        served += serve(stream, 2)
        stream.change_weights([1.0, float(count)])
        served += serve(stream, 3)
    state = stream.state_dict()
    assert [snapshot["row"] for snapshot in state["history"]] == [0, 20, 70]
    assert [event["row"] for event in state["events"]] == [40, 90]
    replay = stream_of(packed(folder, {"a": 3, "b": 3}), RATIO)
    replay.load_state_dict(state | {"rows": 0})
    assert serve(replay, 12) == served


def test_rows_that_did_not_only_grow_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    stream = stream_of(packed(folder, {"a": 2, "b": 2}), RATIO)
    serve(stream, 3)
    state = stream.state_dict()
    other = {"a": [random_rows(30, SEQ_LEN, 1), random_rows(17, SEQ_LEN, 2)]}
    other["a"].append(random_rows(5, SEQ_LEN, 3))
    other["b"] = [random_rows(25, SEQ_LEN, 9800), random_rows(13, SEQ_LEN, 9801)]
    shutil.rmtree(folder)
    changed = stream_of(write_packed(folder, other, PER_FRAME), RATIO, allow_append=True)
    with pytest.raises(InputError, match="first 2 shards of a are not the ones"):
        changed.load_state_dict(state)
    shrunk = stream_of(packed(folder, {"a": 1, "b": 2}), RATIO, allow_append=True)
    with pytest.raises(InputError, match="first 2 shards of a are not the ones"):
        shrunk.load_state_dict(state)


def test_a_source_that_the_run_does_not_know_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    expected = serve(stream_of(packed(folder, {"a": 2}), BY_SIZE), 12)
    stream = stream_of(packed(folder, {"a": 2}), BY_SIZE)
    served = serve(stream, 3)
    large = packed(folder, {"a": 2, "b": 1})
    for allow_append in (False, True, True, False):
        state = stream.state_dict()
        assert len(state["history"]) == 1
        stream = stream_of(large, BY_SIZE, allow_append)
        stream.load_state_dict(state)
        assert stream.mixture.names == ("a",)
        assert stream.newcomers == ["b"]
        served += serve(stream, 2)
    assert served == expected[: len(served)]


def test_what_an_online_rule_has_learned_outlives_growth(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    config = BY_SIZE.model_copy(update={"online": OnlineConfig(rule="odm")})
    stream = stream_of(packed(folder, {"a": 2, "b": 2}), config)
    serve(stream, 2)
    stream.change_weights([0.1, 0.9])
    served = serve(stream, 2)
    state = stream.state_dict()
    stream = stream_of(packed(folder, {"a": 3, "b": 3}), config, allow_append=True)
    stream.load_state_dict(state)
    served = serve(stream, 30)
    assert sum(row[0] for row in served) == pytest.approx(270, abs=8)
