"""Which documents are read of a corpus that is too large to read, and which are shown."""

import bisect
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from pipeline.contracts import stable_share

ItemT = TypeVar("ItemT")

_SALT = "report"
_MAX_PARTS = 256


def choose_parts(records: Mapping[str, int], max_records: int) -> dict[str, int]:
    """How many records to read from the beginning of which parts; the same whenever asked.

    Everything, if `max_records` allows; else parts chosen by the hash of their names, each with a
    share of `max_records` in proportion to its size.

    Args:
        records: number of records by part.
        max_records: records to read, at least 1.
    """
    filled = {part: count for part, count in records.items() if count}
    if sum(filled.values()) <= max_records:
        return filled
    chosen = sorted(filled, key=lambda part: stable_share(part, _SALT))
    chosen = chosen[: min(_MAX_PARTS, max_records)]
    total = sum(filled[part] for part in chosen)
    left, quotas = max_records, dict[str, int]()
    for part in chosen:
        quota = min(left, filled[part], max(1, filled[part] * max_records // total))
        if quota:
            quotas[part] = quota
            left -= quota
    return {part: quotas[part] for part in records if part in quotas}


class FewestHash(Generic[ItemT]):
    """Keeps the items whose keys hash lowest: a fair choice, whatever order they come in."""

    def __init__(self, size: int) -> None:
        """Keep at most `size` items."""
        self._size = size
        self._items: list[tuple[float, ItemT]] = []

    def offer(self, key: str, item: ItemT) -> None:
        """Keep the item if its key hashes low enough; of equal keys, the first."""
        share = stable_share(key, _SALT)
        if any(share == other for other, _ in self._items):
            return
        if len(self._items) < self._size or share < self._items[-1][0]:
            bisect.insort(self._items, (share, item), key=lambda entry: entry[0])
            del self._items[self._size :]

    def __iter__(self) -> Iterator[ItemT]:
        return (item for _, item in self._items)

    def __len__(self) -> int:
        return len(self._items)
