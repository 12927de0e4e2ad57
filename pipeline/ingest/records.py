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
    """A row of a table as a record; one whose texts have more than `max_bytes` is `too_long`."""
    texts = [each for each in value.values() if isinstance(each, str | bytes)]
    if sum(map(len, texts)) <= max_bytes:
        return RawRecord(file, line, value)
    excerpt = max((str(each[:_EXCERPT_CHARS]) for each in texts), key=len)
    return RawRecord(file, line, None, "too_long", excerpt)


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
