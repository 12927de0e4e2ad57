r"""Patterns with placeholders, cut into their literals once.

    "Question: {q}\nAnswer: {a}"   ->   "Question: " | "\nAnswer: " | ""

A text is written by joining literals and words, never by substitution: a `{q}` in a user's text
stays what it is.
"""

import re
from dataclasses import dataclass

_PLACEHOLDER = re.compile(r"\{[^{}]*\}")
_BY_NUMBER = re.compile(r"\{([^{}|]*)\|([^{}|]*)\}")


@dataclass(frozen=True, slots=True)
class Around:
    """Literals around one part."""

    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Frame:
    """Literals around two parts."""

    before: str
    between: str
    after: str

    @property
    def is_compact(self) -> bool:
        """Whether a reader sees where it starts without an empty line before it."""
        return bool(self.before) and "\n\n" not in self.between

    def numbered(self, number: int) -> "Frame":
        """The frame with its `{n}`, if it has one, as `number`."""
        if "{n}" not in self.before:
            return self
        return Frame(self.before.replace("{n}", str(number)), self.between, self.after)


@dataclass(frozen=True, slots=True)
class ByNumber:
    """A line as it reads before one pair, and before several."""

    one: str
    several: str


def cut(pattern: str, *names: str) -> list[str]:
    """Literals around placeholders that each occur once and in this order.

    Raises:
        ValueError: a placeholder is missing, repeated, unknown or out of order.
    """
    wanted = [f"{{{name}}}" for name in names]
    if _PLACEHOLDER.findall(pattern) != wanted:
        raise ValueError(f"pattern {pattern!r} must hold {' then '.join(wanted)}, each once")
    return _PLACEHOLDER.split(pattern)


def around(pattern: str, name: str) -> Around:
    """A pattern with one placeholder."""
    return Around(*cut(pattern, name))


def frame(pattern: str, first: str = "q", second: str = "a") -> Frame:
    """A pattern with two placeholders."""
    return Frame(*cut(pattern, first, second))


def line_frame(pattern: str) -> Frame:
    """A pattern whose question may end in options: a line end follows it.

    Raises:
        ValueError: the pattern has another form.
    """
    found = frame(pattern)
    if not found.between.startswith("\n"):
        raise ValueError(f"pattern {pattern!r} must have a line end after {{q}}")
    return found


def counted_frame(pattern: str) -> Frame:
    """The same, which may hold `{n}` before the question; see `Frame.numbered`."""
    if "{n}" not in pattern:
        return line_frame(pattern)
    cut(pattern, "n", "q", "a")
    found = line_frame(pattern.replace("{n}", ""))
    return Frame(pattern.partition("{q}")[0], found.between, found.after)


def by_number(pattern: str) -> ByNumber:
    """A line with any number of `{word for one|word for several}`.

    Raises:
        ValueError: the line is empty or holds other placeholders.
    """
    forms = ByNumber(_BY_NUMBER.sub(r"\1", pattern), _BY_NUMBER.sub(r"\2", pattern))
    if not pattern or _PLACEHOLDER.search(forms.one):
        raise ValueError(f"line {pattern!r} must be text, with {{one|several}} where they differ")
    return forms
