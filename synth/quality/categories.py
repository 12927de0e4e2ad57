"""What a pair asks to be done, by the ordered table `categories.toml`."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.contracts import Pair
from synth.quality.words import fold

TABLE = Path(__file__).with_name("categories.toml")
OTHER = "other"


@dataclass(frozen=True, slots=True)
class CategoryRule:
    """One row of the table; its fields are explained at the table's head."""

    name: str
    instruction: re.Pattern[str]
    response: re.Pattern[str] | None
    example: Pair

    def fits(self, instruction: str, response: str) -> bool:
        """Whether a pair, its parts folded, is of this category."""
        if not self.instruction.search(instruction):
            return False
        return self.response is None or bool(self.response.search(response))


@cache
def category_rules() -> tuple[CategoryRule, ...]:
    """The rows in the table's order; a category may have several."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))["category"]
    return tuple(map(_rule, rows))


def categorise(pair: Pair) -> str:
    """The category of the first row that fits, or `other`.

    Reads the instruction, and the response only where a row asks for it; options and reasoning
    play no part, for they are forms that any task can have.
    """
    instruction = fold(pair.instruction).replace("\u2019", "'")
    response = fold(pair.response)
    for rule in category_rules():
        if rule.fits(instruction, response):
            return rule.name
    return OTHER


def _rule(row: dict[str, Any]) -> CategoryRule:
    instruction, response = row["example"]
    return CategoryRule(
        name=row["name"],
        instruction=re.compile(row["instruction"]),
        response=re.compile(row["response"]) if "response" in row else None,
        example=Pair(instruction, response),
    )
