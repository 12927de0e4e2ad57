"""Causes and effects within one sentence.

"The fair was called off because the river had risen."   why?  -> "Because the river had risen."
"Owing to the flood, the fair was called off."           why?  -> "Owing to the flood."
"Because the river had risen, it was called off."        what follows?  -> "It was called off."
"The long rain led to a flood."                          what led to a flood?  -> "The long rain."
"""

import random
import re
from collections.abc import Sequence
from functools import partial

from pipeline.contracts import Pair
from synth.rules.candidates import Candidate, free_form
from synth.rules.clauses import (
    MAX_CHARS,
    as_sentence,
    capitalised,
    first_word,
    inline,
    is_dangling,
    quotable,
)
from synth.rules.connections import find_consequences
from synth.rules.links import Link
from synth.rules.phrasing import phrase
from synth.rules.sentences import Passage

_MAX_COMMAS = 1
_MAX_SUBJECT_WORDS = 8
_MIN_PHRASE_SPACES = 1
_INNER_STOP = re.compile("[;:\u2014()]|--")


def find_cause_effect(passage: Passage, links: Sequence[Link]) -> list[Candidate]:
    """Consequences between sentences, causes within sentences."""
    found = find_consequences(passage, links)
    language, text = passage.language, passage.text
    if language.cause is not None:
        for match in language.cause.finditer(text):
            number = passage.sentence_at(match.start())
            if passage.ends[number] - passage.starts[number] <= MAX_CHARS:
                found.append(Candidate((number,), partial(_explain, passage, number, match)))
    if language.fronted is not None:
        for number, start in enumerate(passage.starts):
            end = passage.ends[number]
            if end - start <= MAX_CHARS and (match := language.fronted.match(text, start, end)):
                found.append(Candidate((number,), partial(_unfold, passage, number, match)))
    return found


def _explain(
    passage: Passage, number: int, match: re.Match[str], stream: random.Random
) -> Pair | None:
    """`effect because cause`, or `cause led to effect`."""
    language, text = passage.language, passage.text
    start, end = passage.starts[number], passage.ends[number]
    before, after = text[start : match.start()], text[match.start(2) : end]
    kind = language.cause_kinds[match.group(2)]
    if kind == "verb":
        return _explain_verb(passage, before, match.group(2), text[match.end() : end], stream)
    if not after.endswith((".", "\u3002")) or len(language.cause.findall(text, start, end)) > 1:
        return None
    effect = quotable(before, min_spaces=2)
    cause = quotable(after, min_spaces=3 if kind == "clause" else 2)
    if effect is None or cause is None or not _is_plain(effect) or not _is_plain(cause):
        return None
    if not effect[0].isupper() or is_dangling(language, effect):
        return None
    if effect.rpartition(" ")[2].lower() in language.causes.not_after:
        return None
    if kind == "clause" and language.causes.requires_comma and not match.group(1):
        return None
    is_guarded = match.group(2) in language.causes.guarded
    if is_guarded and not re.search(language.causes.guard, effect + match.group(1)):
        return None
    return _ask_why(passage, effect, as_sentence(after), stream)


def _explain_verb(
    passage: Passage, before: str, verb: str, after: str, stream: random.Random
) -> Pair | None:
    language = passage.language
    subject = quotable(before, min_spaces=_MIN_PHRASE_SPACES)
    result = quotable(after.partition(",")[0], min_spaces=_MIN_PHRASE_SPACES)
    if subject is None or result is None or not after.endswith("."):
        return None
    words = subject.lower().split()
    if len(words) > _MAX_SUBJECT_WORDS or "," in subject or not subject[0].isupper():
        return None
    if is_dangling(language, subject) or not language.not_in_terms.isdisjoint(words[1:]):
        return None
    if not _is_plain(result) or first_word(subject).lower() in language.not_in_terms:
        return None
    if stream.random() < 0.5:
        question = phrase(language.pools.get("verb_cause", ()), stream, verb=verb, result=result)
        return free_form(question, as_sentence(subject))
    question = phrase(
        language.pools.get("verb_effect", ()),
        stream,
        verb=verb,
        subject=subject,
        subject_inline=inline(passage, subject),
    )
    return free_form(question, as_sentence(result))


def _unfold(
    passage: Passage, number: int, match: re.Match[str], stream: random.Random
) -> Pair | None:
    """`Because cause, effect.`"""
    language = passage.language
    if match.end() != passage.ends[number] or not match.group().endswith("."):
        return None
    effect = quotable(match.group(3), min_spaces=2)
    cause = quotable(match.group(2), min_spaces=_MIN_PHRASE_SPACES)
    if effect is None or cause is None or "," in effect:
        return None
    if not is_dangling(language, effect):
        fronted = f"{match.group(1)} {cause}" if match.group(1)[-1].isalpha() else ""
        return _ask_why(passage, capitalised(effect), as_sentence(fronted), stream)
    if match.group(1) in language.causes.fronted_phrases or is_dangling(language, cause):
        return None
    question = phrase(
        language.pools.get("effect", ()), stream, cause=capitalised(cause), cause_inline=cause
    )
    return free_form(question, as_sentence(effect))


def _ask_why(passage: Passage, effect: str, response: str, stream: random.Random) -> Pair | None:
    question = phrase(
        passage.language.pools.get("why", ()),
        stream,
        effect=effect,
        effect_inline=inline(passage, effect),
    )
    return free_form(question, response)


def _is_plain(clause: str) -> bool:
    """Whether a clause has few enough joints for its boundaries to be where they seem."""
    return clause.count(",") <= _MAX_COMMAS and not _INNER_STOP.search(clause)
