"""Answers chosen from a text before a question is asked: names, years, numbers, clauses.

Choosing the answer first and asking for its question grounds the pair by construction (PAQ, Lewis
et al. 2021, arXiv 2102.07033).
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from synth.sentences import sentences_around

SpanKind = Literal["year", "number", "name", "clause"]

_YEAR = re.compile(r"\b(?:1[0-9]|20)\d\d\b(?![,.]?\d)")
_NUMBER = re.compile(
    r"[$\u20ac\u00a3]?\b\d(?:[\d,.]*\d)?\b%?(?: (?:thousand|million|billion|per cent|percent)\b)?"
)
# Not at the beginning of a sentence, where every word has a capital.
_NAME = re.compile(
    r"(?<![.!?:\n\"'\u201c(] )(?<![\n\"'\u201c(])(?<!^)\b"
    r"(?:[Tt]he )?[A-Z][\w'-]+(?: (?:(?:of|and|the|de|von|van) ){0,2}[A-Z][\w'-]+){0,5}"
)
_CLAUSE = re.compile(r"[^.,;:!?\n()\"\u201c\u201d\u3002\uff0c\u3001\uff1b\uff01\uff1f]+")
_CLAUSE_CHARS = (6, 90)
_CLAUSE_WORDS = (3, 12)
_NO_ANSWER = re.compile(r"(?:of|which|who|whose|whom|than|as|not) ", re.IGNORECASE)
_LEADING_WORDS = re.compile(r"^(?:and|or|but|that|nor|so|for|und|oder|et|ou|y|o) ", re.IGNORECASE)
_MIN_NAME_CHARS = 4
_MAX_SENTENCE_CHARS = 250
_STOPS = frozenset(("They", "This", "That"))


@dataclass(frozen=True, slots=True)
class AnswerSpan:
    """A stretch of a text that can answer a question."""

    text: str
    kind: SpanKind
    sentence: str = ""
    """The sentence it stands in, so that the model asks about the right mention."""


def choose_spans(text: str, count: int, stream: random.Random) -> tuple[AnswerSpan, ...]:
    """Up to `count` spans of `text`, none within another, in order of appearance.

    Kinds take turns, so that one passage brings names, numbers and clauses rather than one of them.
    """
    by_kind: dict[SpanKind, list[AnswerSpan]] = {}
    for span in _candidates(text):
        by_kind.setdefault(span.kind, []).append(span)
    for spans in by_kind.values():
        stream.shuffle(spans)
    chosen: list[AnswerSpan] = []
    while len(chosen) < count and any(by_kind.values()):
        for spans in by_kind.values():
            if spans and len(chosen) < count:
                span = spans.pop()
                if not any(span.text in other.text or other.text in span.text for other in chosen):
                    chosen.append(span)
    in_order = sorted(chosen, key=lambda span: text.find(span.text))
    return tuple(in_sentence(text, span.text, span.kind) for span in in_order)


def in_sentence(text: str, answer: str, kind: SpanKind) -> AnswerSpan:
    """The first mention of `answer` in `text`, with its sentence (unless that is very long)."""
    start = text.find(answer)
    sentence = sentences_around(text, start, start + len(answer))
    return AnswerSpan(answer, kind, sentence if len(sentence) <= _MAX_SENTENCE_CHARS else "")


def _candidates(text: str) -> Iterator[AnswerSpan]:
    years = {match.group() for match in _YEAR.finditer(text)}
    yield from (AnswerSpan(year, "year") for year in sorted(years))
    for match in _NUMBER.finditer(text):
        if match.group() not in years and _is_amount(text, match):
            yield AnswerSpan(match.group(), "number")
    for match in _NAME.finditer(text):
        name = match.group()
        if len(name) >= _MIN_NAME_CHARS and name not in _STOPS:
            yield AnswerSpan(name, "name")
    for match in _CLAUSE.finditer(text):
        clause = _LEADING_WORDS.sub("", match.group().strip())
        if _is_answer_sized(clause):
            yield AnswerSpan(clause, "clause")


def _is_amount(text: str, match: re.Match[str]) -> bool:
    """Whether a number counts or measures something, and is no day of a month or part of a name."""
    if not match.group().isdecimal() and not match.group()[-1].isdecimal():
        return True  # a scale or a percent sign stands behind it
    if match.group()[0] in "$\u20ac\u00a3":
        return True
    before = text[: match.start()].rstrip().rpartition(" ")[2]
    return text[match.end() : match.end() + 2].strip().islower() and not before[:1].isupper()


def _is_answer_sized(clause: str) -> bool:
    shortest, longest = _CLAUSE_CHARS
    if not shortest <= len(clause) <= longest or _NO_ANSWER.match(clause):
        return False
    if not clause.isascii() and " " not in clause:
        return True  # a language written without spaces has one "word" a clause
    fewest, most = _CLAUSE_WORDS
    return fewest <= len(clause.split()) <= most
