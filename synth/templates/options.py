"""The order and the labels of options, where some of them speak of others.

options                                      order                labels
red, green, blue                             shuffled             as drawn
red, green, none of the above                the last one last    as drawn
red, green, both of these                    kept                 as drawn
red, green, both A and B                     kept                 A, B, C
I only, II only, I and II (in the question)  shuffled             none that read I, II, III
"""

import random
import re
from collections.abc import Sequence
from typing import NamedTuple

from pipeline.contracts import Pair
from synth.templates.labels import (
    LOWER,
    LOWER_ROMAN,
    NO_MARK,
    NUMBERS,
    PLAIN_BULLET,
    ROMAN,
    SYSTEMS,
    UPPER,
    LabelStyle,
    Symbols,
)

_LISTED = r"(?:(?:given|listed|other|above|provided)\s+)*(?:options|choices|answers|alternatives)"
_OTHERS = rf"(?:of\s+)?(?:the\s+)?(?:above|preceding|these|those|them|others?|{_LISTED})\b"
# The next three read lower case. This one is a cheap look: most options need no other.
_MAY_SPEAK = re.compile(
    r"\b(?:above|others?|both|either|neither|none|all|any|only|and|or|nor|options?|choices?"
    r"|answers?|former|latter|preceding|first|last)\b|[,&]"
)
_OF_ALL = re.compile(
    rf"\b(?:none|all|any|each|every\s+one)\s+{_OTHERS}|^\W*(?:none|all|other)\W*$",
)
_OF_SOME = re.compile(
    rf"\b(?:both|either|neither|two|three|some|one|only\s+one)\s+{_OTHERS}"
    r"|\bthe\s+(?:above|preceding|former|latter)\b"
    r"|\b(?:first|second|third|fourth|last|previous)\s+(?:\w+\s+)?"
    r"(?:options?|choices?|answers?|alternatives?)\b"
    r"|^\W*(?:(?:only\s+)?the\s+(?:first|last)\s+(?:two|three)|both|either|neither)\W*$",
)
_OWN_LABEL = re.compile(r"\W{0,2}([A-Z]|[a-z]|\d{1,2}|[IVX]+|[ivx]+)[).:\]]+\s+(?=\S)")
# In questions and reasonings: "Option B", "answer is (C)", "options b), c)", "(B)", "B is wrong".
_MENTION = re.compile(
    r"\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer)s?(?:\s+is)?:?\s+\(?(?P<symbol>[A-H]|[1-9])\b"
    r"|\b(?:[Oo]ption|[Cc]hoice)s?\s+(?P<lower>\([a-h]\)|[a-h]\)|[b-h]\b)"
    r"|\((?P<letter>[A-H])\)"
    r"|\b(?P<bare>[B-H])\s+(?:is|are|was|were|cannot|and\s+[A-H]\b|or\s+[A-H]\b)"
)


def _reference_pattern(symbol: str) -> re.Pattern[str]:
    """What matches an option that consists of symbols: "both A and B", "(a), (c)", "II only"."""
    item = rf"\(?{symbol}\)?"
    gap = r"(?:\s*,\s*(?:(?i:and|or)\s+)?|\s+(?i:and|or|nor)\s+|\s*&\s*)"
    words = r"(?i:both|either|neither|only|just|all\s+of|options?|choices?|answers?|statements?)"
    return re.compile(
        rf"\W*(?P<words>(?:{words}\s+)+)?{item}(?P<more>(?:{gap}(?:{words}\s+)?{item})+)?"
        r"(?P<end>\s+(?i:only|are\s+\w+))?\W*"
    )


_REFERENCES = tuple(
    (symbols, re.compile(rf"\b{symbol}\b"), _reference_pattern(symbol))
    for symbols, symbol in (
        (UPPER, "[A-H]"),
        (LOWER, "[a-h]"),
        (NUMBERS, "[1-9]"),
        (ROMAN, "[IVX]+"),
        (LOWER_ROMAN, "[ivx]+"),
    )
)


def arrange_options(
    pair: Pair, style: LabelStyle, stream: random.Random
) -> tuple[tuple[str, ...], LabelStyle]:
    """The options of a pair in the order to show, and the style that suits them.

    Args:
        pair: with options.
        style: as drawn for the example.
        stream: of the example.
    """
    options = pair.options
    if _have_own_labels(options):
        return options, NO_MARK
    said = _what_is_said(pair)
    if said.named_by:
        style = style.with_symbols(said.named_by)
    elif said.avoided and said.avoided == style.symbols:
        style = style.with_symbols(NUMBERS if style.symbols in (UPPER, LOWER) else UPPER)
    if not (said.is_ordered or said.named_by):
        free = [option for option in options if option not in said.last]
        # Only `random()` has a sequence that Python promises to keep from version to version.
        options = (*sorted(free, key=lambda _: stream.random()), *said.last)
    return options, style if style.suits(options) else PLAIN_BULLET


class _Said(NamedTuple):
    """What a pair says of its own options."""

    last: Sequence[str] = ()
    """Options that speak of all others."""
    is_ordered: bool = False
    """Some option speaks of the place of another."""
    named_by: Symbols = ()
    """Symbols by which options are named."""
    avoided: Symbols = ()
    """Symbols that name something else."""


def _what_is_said(pair: Pair) -> _Said:
    options, together = pair.options, "\n".join(pair.options)
    last, is_ordered = list[str](), False
    if _MAY_SPEAK.search(together.lower()):
        last = [option for option in options if _OF_ALL.search(option.lower())]
        free = [option for option in options if option not in last] if last else options
        is_ordered = any(_OF_SOME.search(option.lower()) for option in free)
        named_by, avoided = _symbols_referred_to(free, len(options))
        if named_by or avoided:
            return _Said(last, is_ordered, named_by, avoided)
    for text in (pair.instruction, pair.reasoning, together):
        if match := _MENTION.search(text):
            return _Said(last, is_ordered, _symbols_of(match))
    around = f"{pair.instruction}\n{pair.reasoning}".lower()
    return _Said(last, is_ordered or bool(_OF_SOME.search(around)))


def _symbols_of(mention: re.Match[str]) -> Symbols:
    if mention["lower"]:
        return LOWER
    return NUMBERS if (mention["symbol"] or "A").isdigit() else UPPER


def _symbols_referred_to(options: Sequence[str], num_options: int) -> tuple[Symbols, Symbols]:
    """Symbols by which some options name others, and those by which all name something else."""
    for symbols, symbol, pattern in _REFERENCES:
        found = [pattern.fullmatch(option) for option in options]
        matches = [
            match for match in found if match and (match["words"] or match["more"] or match["end"])
        ]
        if not matches:
            continue
        if all(found):
            return (), symbols
        for match in matches:
            # "1 and 2" may be an answer of its own, "both 1 and 2" or "1 and 2 only" is not.
            is_sure = symbols is not NUMBERS or match["words"] or match["end"]
            named = symbol.findall(match[0])
            if is_sure and named and all(name in symbols[:num_options] for name in named):
                return symbols, ()
    return (), ()


def _have_own_labels(options: Sequence[str]) -> bool:
    """Whether the options came with labels: "A. red", "B. green"."""
    first = _OWN_LABEL.match(options[0])
    if not first or first[1] not in ("A", "a", "1", "I", "i"):
        return False
    found = [match[1] if (match := _OWN_LABEL.match(option)) else "" for option in options]
    return any(found == list(symbols[: len(found)]) for symbols in SYSTEMS)
