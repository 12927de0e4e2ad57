"""One JSON array of records, as instruction sets are often published, read piece by piece."""

import io
import json
import re
from collections.abc import Iterator
from typing import Any

from pipeline import storage
from pipeline.compression import open_decompressed
from pipeline.errors import DamagedInputError

_CHUNK_CHARS = 1 << 20
_BETWEEN = re.compile(r"[\s,]*")
_FIRST_BYTES = 4096


def is_json_array(uri: str) -> bool:
    """Whether a file begins with `[`, and not with the first of many lines."""
    with storage.open_read(uri) as raw:
        head = open_decompressed(raw, uri).read(_FIRST_BYTES)
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def read_json_array(uri: str, max_chars: int) -> Iterator[tuple[Any, int]]:
    """Stream the items of a top-level array, each with its length in characters.

    Memory holds one item and as much again that is read ahead.

    Raises:
        DamagedInputError: the array is cut short, or one of its items is no JSON or far longer
            than `max_chars`. What comes after it cannot be found.
    """
    decoder = json.JSONDecoder()
    with storage.open_read(uri) as raw:
        stream = io.TextIOWrapper(open_decompressed(raw, uri), encoding="utf-8-sig")
        text = _more(stream, uri, 0)
        position, count = text.index("[") + 1, 0
        while True:
            position = _end_of_gap(text, position)
            if text.startswith("]", position):
                return
            problem = "cut short"
            try:
                value, end = decoder.raw_decode(text, position)
            except (json.JSONDecodeError, RecursionError) as error:
                problem = str(error)
            else:
                if end < len(text) or not isinstance(value, int | float):
                    yield value, end - position
                    position, count = end, count + 1
                    continue
            # Nothing, or a number that may go on: read further, twice as far each time.
            held = len(text) - position
            more = _more(stream, uri, held) if held <= max_chars else ""
            if not more:
                raise DamagedInputError(
                    f"{uri}: no whole JSON record of at most {max_chars} characters after record "
                    f"{count} ({problem}); mend the file there, or write it as JSON lines"
                )
            text, position = text[position:] + more, 0


def _end_of_gap(text: str, position: int) -> int:
    gap = _BETWEEN.match(text, position)
    return gap.end() if gap else position


def _more(stream: io.TextIOWrapper, uri: str, held: int) -> str:
    try:
        return stream.read(max(_CHUNK_CHARS, held))
    except UnicodeDecodeError as error:
        raise DamagedInputError(
            f"{uri}: not UTF-8 ({error.reason}: {error.object[error.start : error.start + 20]!r}); "
            f"write it as UTF-8 or leave it out"
        ) from error
