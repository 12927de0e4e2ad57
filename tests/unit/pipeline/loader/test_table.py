"""Where rows lie: any row by two searches, however the shards are cut."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.loader.table import make_table, open_table, table_bytes

COUNTS = st.lists(st.integers(1, 20), min_size=1, max_size=30)


def every_row(counts: list[int], per_frame: int) -> list[tuple[int, int, int]]:
    return [
        (shard, row // per_frame, row % per_frame)
        for shard, count in enumerate(counts)
        for row in range(count)
    ]


@given(COUNTS, st.integers(1, 8))
def test_units_cover_every_row_once(counts: list[int], per_frame: int) -> None:
    table = make_table(counts, range(len(counts)), per_frame)
    assert table.num_rows == sum(counts)
    full = table.num_full_frames * per_frame
    numbers = np.arange(table.num_rows)
    tail = (numbers - full) // per_frame * per_frame
    units = np.where(numbers < full, numbers // per_frame, -1 - tail)
    places = table.locate(units, np.where(numbers < full, numbers, numbers - full) % per_frame)
    found = list(zip(*(column.tolist() for column in places), strict=True))
    assert sorted(found) == every_row(counts, per_frame)
    for at in range(0, full, per_frame):
        assert len({place[:2] for place in found[at : at + per_frame]}) == 1, "unit is one frame"


@given(COUNTS, st.integers(1, 8), st.integers(0, 100), st.integers(0, 100))
def test_rows_in_order(counts: list[int], per_frame: int, start: int, length: int) -> None:
    table = make_table(counts, range(len(counts)), per_frame)
    places = table.in_order(start, start + length)
    found = list(zip(*(column.tolist() for column in places), strict=True))
    assert found == every_row(counts, per_frame)[start : start + length]


def test_a_large_table_is_mapped_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "table.npy"
    for numbers in ([0, 4, 7], range(60_000)):
        table = make_table([5] * len(numbers), numbers, 4)
        path.write_bytes(table_bytes(table))
        found = open_table(str(path), 4)
        assert isinstance(found.full_before, np.memmap) == (len(numbers) > 3)
        assert found.part_numbers.tolist() == list(numbers)
        assert found.num_rows == 5 * len(numbers)


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"PK\3\4zip", table_bytes(make_table([5], [0], 4))[:-9]]
)
def test_a_damaged_table_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.npy"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"table\.npy.*pack again"):
        open_table(str(path), 4)
