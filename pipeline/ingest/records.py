"""One record of an input as it was found, and what no record may be."""

from dataclasses import dataclass
from typing import Any

_MAX_LEVELS = 100
_EXCERPT_CHARS = 200


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One record as it was found: a `value`, or the `problem` that kept it from being read."""

    file: str
    line: int
    value: dict[str, Any] | None
    problem: str = ""
    excerpt: str = ""
    had_bom: bool = False


def row_record(file: str, line: int, value: dict[str, Any], max_bytes: int) -> RawRecord:
    """A row of a table as a record; one that has more than `max_bytes` is `too_long`.

    Texts count by their length, whatever else there is 8 bytes.
    """
    texts = [each for each in value.values() if isinstance(each, str | bytes)]
    if _size_of(value) <= max_bytes:
        return RawRecord(file, line, value)
    excerpt = max((str(each[:_EXCERPT_CHARS]) for each in texts), key=len, default="")
    return RawRecord(file, line, None, "too_long", excerpt)


def _size_of(row: dict[str, Any]) -> int:
    size, left = 0, list(row.values())
    while left:
        each = left.pop()
        if isinstance(each, str | bytes):
            size += len(each)
        elif isinstance(each, dict):
            left.extend(each.values())
        elif isinstance(each, list):
            left.extend(each)
        else:
            size += 8
    return size


def is_nested_too_deep(value: Any) -> bool:
    """Whether a value has more than 100 levels of lists and objects.

    What handles records calls itself level by level, and Python ends that at some hundreds.
    """
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(_MAX_LEVELS):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return bool(level)
