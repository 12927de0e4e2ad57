"""What a converter makes of a raw record: examples, and items that are none, with the reason.

    {"story": ..., "questions": [...], "answers": {...}}  ─▶  TaskExample(dataset, context, pairs)
    {"story": null}                                       ─▶  BadItem("missing_context")

A question or an answer may be a string, a number, or a list whose first text counts. Both go
through `synth.pairs.structure_pair`, so options and reasoning are recognised in every format.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pipeline.contracts import Pair
from synth.pairs import ParsedPairs, structure_pair
from synth.wire import holds_mark

HOLDS_MARK = "holds_a_mark_of_the_wire_format"
_EXCERPT_CHARS = 200
_NAME_BYTES = 200
_FORMAT_PROBLEMS = ("missing_", "malformed_")

# A question and its answer as found, a finished pair, or the reason why there is none.
Asked = tuple[Any, Any] | Pair | str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record is from: the name of its source in the config, and its file."""

    source: str
    file: str


@dataclass(frozen=True, slots=True)
class TaskExample:
    """A context and the pairs about it, in order; `dataset` is fit to be a folder's name."""

    dataset: str
    context: str
    pairs: tuple[Pair, ...]
    origins: tuple[str, ...] = ()
    """Other names under which `leave_out` knows it."""
    dropped_pairs: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class BadItem:
    """A record, or a part of one, that is no example."""

    reason: str
    excerpt: str

    @classmethod
    def of(cls, reason: str, value: object) -> "BadItem":
        """With the beginning of what was found."""
        excerpt = str(value)[:_EXCERPT_CHARS]
        return cls(reason, excerpt.encode(errors="replace").decode())


Converter = Callable[[dict[str, Any], Origin], Iterator[TaskExample | BadItem]]


def make_example(
    dataset: str, context: object, asked: Iterable[Asked], origins: Iterable[str] = ()
) -> TaskExample | BadItem:
    """An example of what was found, its pairs structured; it may have none that survive."""
    text = text_of(context) if isinstance(context, str) else None
    if text is None:
        return BadItem.of(lack_of("context", context), context)
    if problem := _context_problem(text):
        return BadItem.of(problem, text)
    if not (name := folder_name(dataset)):
        return BadItem.of("malformed_dataset_name", dataset)
    parsed = ParsedPairs()
    for each in asked:
        parsed.take(_structured(*each) if isinstance(each, tuple) else each)
    return TaskExample(name, text, tuple(parsed.pairs), tuple(origins), parsed.dropped)


def text_of(value: object) -> str | None:
    """A value as a text, trimmed; of a list the first that is not blank. None: it is no text."""
    if isinstance(value, list | tuple):
        return next(filter(None, map(text_of, value)), None if value else "")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value).replace("\r\n", "\n").strip()


def objects_in(value: object, what: str) -> Iterator[dict[str, Any] | BadItem]:
    """The objects of a list; `what` names one of them in the reasons for those that are none."""
    if not isinstance(value, list | tuple):
        yield BadItem.of(lack_of(f"{what}s", value), value)
        return
    for each in value:
        yield each if isinstance(each, dict) else BadItem.of(f"malformed_{what}", each)


def folder_name(dataset: str) -> str:
    """A data set's name with letters, digits, - and _ only; empty if nothing is left of it."""
    name = re.sub(r"[^\w-]+", "_", dataset).strip("_")
    name = name.encode(errors="ignore")[:_NAME_BYTES].decode(errors="ignore")
    return "dropped_" if name == "dropped" else name  # which is a folder of every stage


def lack_of(what: str, value: object) -> str:
    """The reason to drop what holds `value` where `what` should be."""
    return f"missing_{what}" if value is None else f"malformed_{what}"


def is_format_problem(reason: str) -> bool:
    """Whether a reason speaks against the format, and not only against what the record says."""
    return reason.startswith(_FORMAT_PROBLEMS)


def _context_problem(text: str) -> str:
    if not text:
        return "empty_context"
    if "\0" in text:
        return "nul_byte"
    if holds_mark(text):
        return HOLDS_MARK
    try:
        text.encode()
    except UnicodeEncodeError:
        return "not_unicode"
    return ""


def _structured(question: object, answer: object) -> Pair | str:
    texts = []
    for value, what in ((question, "question"), (answer, "answer")):
        text = text_of(value)
        if text is None:
            return lack_of(what, value)
        texts.append(text)
    return HOLDS_MARK if any(map(holds_mark, texts)) else structure_pair(*texts)
