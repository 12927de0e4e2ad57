"""A pair that could be built from a text, and how pairs are put together."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pipeline.contracts import Pair
from synth.pairs import make_pair

T = TypeVar("T")

BLANK = "____"
"""Stands in a question where something was left out."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pair that could be built, and the sentences that it would be about."""

    sentences: tuple[int, ...]
    """Numbers of sentences; no two pairs of a text share one. Empty: about the text as a whole."""
    build: Callable[[random.Random], Pair | None]
    """Writes the pair; None where the text turns out not to have what it takes."""


def free_form(question: str | None, response: str | None) -> Pair | None:
    """A pair without options; None where a part is missing or the question holds the answer."""
    if question is None or response is None:
        return None
    bare = response.rstrip(".\u3002").casefold()
    return None if bare in question.casefold() else _pair(question, response, ())


def multiple_choice(
    question: str | None, response: str, options: Sequence[str], stream: random.Random
) -> Pair | None:
    """A pair with its options in random order."""
    if question is None or len(options) < 2:
        return None
    return _pair(question, response, shuffled(options, stream))


def shuffled(values: Sequence[T], stream: random.Random) -> list[T]:
    """The values in random order; quicker than `random.sample`."""
    return sorted(values, key=lambda _: stream.random())


def draw(values: Sequence[T], stream: random.Random) -> T:
    """One of the values; quicker than `random.choice`."""
    return values[int(stream.random() * len(values))]


def _pair(question: str, response: str, options: Sequence[str]) -> Pair | None:
    pair = make_pair(question, response, options)
    return pair if isinstance(pair, Pair) else None
