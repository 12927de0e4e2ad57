"""Phrasings with slots, parsed once: `"Why is it that {effect_inline}?"`.

A phrasing can be used where each of its slots has a value. A slot's value may be None: a clause
that cannot stand within a sentence leaves the phrasings that would put it there out of the draw.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Phrasing:
    """One phrasing: text and slot names in turn, text first and last."""

    parts: tuple[str, ...]

    def fill(self, slots: dict[str, str | None]) -> str | None:
        """The phrasing with its slots filled; None where a value is missing."""
        filled = list(self.parts)
        for position in range(1, len(filled), 2):
            value = slots.get(filled[position])
            if value is None:
                return None
            filled[position] = value
        return "".join(filled)


Pool = tuple[Phrasing, ...]


def parse_pool(templates: Sequence[str]) -> Pool:
    """Parse the phrasings of one form."""
    return tuple(Phrasing(tuple(_SLOT.split(template))) for template in templates)


def phrase(pool: Pool, stream: random.Random, **slots: str | None) -> str | None:
    """A phrasing drawn from `pool`, filled; None where none can be."""
    first = int(stream.random() * len(pool))
    for position in range(len(pool)):
        question = pool[(first + position) % len(pool)].fill(slots)
        if question is not None:
            return question
    return None
