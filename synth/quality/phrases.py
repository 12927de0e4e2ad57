"""Refusals, meta talk, placeholders, missing gaps, leaked markup; the table is `phrases.toml`."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from synth.quality.config import PhrasesConfig
from synth.quality.text_index import TextIndex
from synth.quality.words import PairWords, fold

TABLE = Path(__file__).with_name("phrases.toml")


@dataclass(frozen=True, slots=True)
class PhraseRule:
    """One rule of the table; its fields are explained at the table's head."""

    reason: str
    part: str
    cues: tuple[str, ...]
    pattern: re.Pattern[str]
    unless: re.Pattern[str] | None
    free: bool
    drops: tuple[str, ...]
    keeps: tuple[str, ...]

    def find(self, folded: str) -> str:
        """The phrase that breaks this rule, or empty."""
        for cue in self.cues:  # a plain loop: this line runs most often of all checks
            if cue in folded:
                break
        else:
            return ""
        if self.unless and self.unless.search(folded):
            return ""
        match = self.pattern.search(folded)
        # An empty text is matched by an empty phrase; it must still count as one.
        return (match[0] or " ") if match else ""


@cache
def phrase_rules() -> tuple[PhraseRule, ...]:
    """The rules in the table's order."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))["rule"]
    return tuple(map(_rule, rows))


class PhraseTable:
    """The rules that a config leaves in force."""

    def __init__(self, config: PhrasesConfig) -> None:
        """Leave out allowed reasons."""
        rules = [rule for rule in phrase_rules() if rule.reason not in config.allow]
        self._of_instruction = [rule for rule in rules if rule.part in ("instruction", "either")]
        self._of_response = [rule for rule in rules if rule.part in ("response", "either")]
        self._of_option = [rule for rule in self._of_response if rule.free]

    def verdict(self, index: TextIndex, words: PairWords) -> str:
        """Reason to drop a pair: a `reason` of the table, or empty."""
        pair = words.pair
        of_response = self._of_option if pair.options else self._of_response
        for rules, part in (
            (self._of_instruction, pair.instruction),
            (of_response, pair.response),
            (self._of_response if pair.reasoning else (), pair.reasoning),
        ):
            folded = fold(part).replace("\u2019", "'")
            for rule in rules:
                phrase = rule.find(folded)
                if phrase and not _is_quoted(index, phrase):
                    return rule.reason
        return ""


def _is_quoted(index: TextIndex, phrase: str) -> bool:
    """Whether the text holds the phrase to the letter, but for case and white space."""
    return bool(phrase.strip()) and " ".join(phrase.split()) in index.folded


def _rule(row: dict[str, Any]) -> PhraseRule:
    return PhraseRule(
        reason=row["reason"],
        part=row["part"],
        cues=tuple(row["cues"]),
        pattern=re.compile(row["pattern"]),
        unless=re.compile(row["unless"]) if "unless" in row else None,
        free=row.get("free", False),
        drops=tuple(row["drops"]),
        keeps=tuple(row["keeps"]),
    )
