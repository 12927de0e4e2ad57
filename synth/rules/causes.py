"""Causes and effects within one sentence.

The fair was called off because the river had risen.   why?          -> Because the river had ...
Owing to the flood, the fair was called off.           why?          -> Owing to the flood.
Because the river had risen, it was called off.        what follows? -> It was called off.
If it rains again, the dam will burst.                 what if?      -> The dam will burst.
The long rain led to a flood.                          what led to?  -> The long rain.
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
    inline,
    is_dangling,
    quotable,
)
from synth.rules.connections import find_consequences
from synth.rules.links import Link
from synth.rules.phrasing import phrase
from synth.rules.sentences import Passage
from synth.rules.table_schema import CauseKind, Causes

_MAX_COMMAS = 1
_RELATIVE_WORDS = 5
_MAX_SUBJECT_WORDS = 8
_MIN_PHRASE_SPACES = 1
_INNER_STOP = re.compile("[;:\u2014()]|--")


def find_cause_effect(passage: Passage, links: Sequence[Link]) -> list[Candidate]:
    """Consequences between sentences, causes within sentences."""
    found = find_consequences(passage, links)
    language, text = passage.language, passage.text
    # Most texts have none of the words, which plain search tells in a fraction of the time.
    if language.cause is not None and any(map(text.__contains__, language.cause_kinds)):
        for match in language.cause.finditer(text):
            number = passage.sentence_at(match.start())
            if passage.ends[number] - passage.starts[number] <= MAX_CHARS:
                found.append(Candidate((number,), partial(_explain, passage, number, match)))
    if language.fronted is not None:
        for number, start in enumerate(passage.starts):
            end = passage.ends[number]
            if end - start > MAX_CHARS:
                continue
            fronted = language.fronted.match(text, start, end)
            if fronted is not None:
                found.append(Candidate((number,), partial(_unfold, passage, number, fronted)))
    return found


def _explain(
    passage: Passage, number: int, match: re.Match[str], stream: random.Random
) -> Pair | None:
    """A sentence with its cause or its effect in the second part."""
    language, text = passage.language, passage.text
    start, end = passage.starts[number], passage.ends[number]
    before, after = text[start : match.start()], text[match.start(2) : end]
    kind = language.cause_kinds[match.group(2)]
    if kind == "verb":
        return _explain_verb(passage, before, match.group(2), text[match.end() : end], stream)
    assert language.cause is not None
    if not after.endswith(".") or len(language.cause.findall(text, start, end)) > 1:
        return None
    effect = quotable(before, min_spaces=2)
    cause = quotable(after, min_spaces=3 if kind == "clause" else 2)
    if effect is None or cause is None or not _is_plain(effect) or not _is_plain(cause):
        return None
    if not effect[0].isupper() or is_dangling(language, effect):
        return None
    if not _is_cause_of(language.causes, effect, match, kind, cause):
        return None
    return _ask_why(passage, effect, as_sentence(after), stream)


def _is_cause_of(
    causes: Causes, effect: str, match: re.Match[str], kind: CauseKind, cause: str
) -> bool:
    """Whether a connective ties the clause before it, as a whole, to the words after it."""
    comma, connective = match.groups()
    words = effect.lower().split()
    if words[-1] in causes.not_after or (words[0] in causes.subordinators and "," not in effect):
        return False
    if kind == "phrase" and comma and "," in cause:  # "The fair, owing to the flood, was put off"
        return False
    if kind == "phrase" and not _has_own_verb(causes, words, comma):
        return False
    if kind == "clause" and causes.requires_comma and not comma:
        return False
    if not comma and not set(causes.negations).isdisjoint(words):
        return False
    return connective not in causes.guarded or bool(re.search(causes.guard, effect + comma))


def _has_own_verb(causes: Causes, words: list[str], comma: str) -> bool:
    """Whether an effect is a whole clause, whose verb does not come after the cause."""
    if not comma and not set(causes.relatives).isdisjoint(words[-_RELATIVE_WORDS:]):
        return False
    if not causes.finite:
        return True
    endings = causes.finite_endings
    return any(word in causes.finite or word.endswith(endings) for word in words)


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
    if is_dangling(language, subject) or not language.not_in_terms.isdisjoint(words):
        return None
    if not _is_plain(result):
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
    """A sentence that begins with its cause: `Because cause, effect`."""
    language = passage.language
    if match.end() != passage.ends[number] or not match.group().endswith("."):
        return None
    effect = quotable(match.group(3), min_spaces=2)
    cause = quotable(match.group(2), min_spaces=_MIN_PHRASE_SPACES)
    if effect is None or cause is None or "," in effect or _INNER_STOP.search(match.group()):
        return None
    if match.group(1) in language.causes.fronted_conditions:
        if is_dangling(language, cause) or quotable(cause) is None:
            return None
        condition = match.group()[: match.start(3) - match.start()].rstrip(", ")
        question = phrase(
            language.pools.get("condition", ()),
            stream,
            condition=condition,
            condition_inline=condition[0].lower() + condition[1:],
        )
        return free_form(question, as_sentence(effect))
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
