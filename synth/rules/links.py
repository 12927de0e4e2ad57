"""Connectives that tie a sentence, or a clause after a semicolon, to the one before it."""

from collections.abc import Iterator
from dataclasses import dataclass

from synth.rules.clauses import (
    MAX_CHARS,
    as_sentence,
    capitalised,
    is_dangling,
    quotable,
    statement,
)
from synth.rules.sentences import Passage
from synth.rules.table_schema import Attachment, Relation

# Behind a semicolon the others tend to be fragments: "; that is, in spring".
_INNER_RELATIONS = frozenset(("consequence", "contrast", "addition"))


@dataclass(frozen=True, slots=True)
class Link:
    """A connective and the two stretches that it ties together."""

    relation: Relation
    attachment: Attachment
    connective: str
    comma: str
    """The comma after the connective, or nothing."""
    premise: int
    """Number of the sentence that holds the premise; -1 where there is none."""
    premise_end: int
    """Where the premise ends: with its sentence, or at a semicolon within it."""
    sentence: int
    """Number of the sentence that holds the connective."""
    rest: int
    """Where the words after the connective start."""


@dataclass(frozen=True, slots=True)
class LinkedPair:
    """Both sides of a link as they can be written."""

    premise: str
    """To be quoted in a question: without its period."""
    premise_sentence: str
    """To be given as an answer."""
    hypothesis: str | None
    """To be quoted in a question; None where it cannot be parted from its connective."""
    response: str
    """To be given as an answer."""


def find_links(passage: Passage) -> list[Link]:
    """Every connective at the beginning of a sentence or after a semicolon, in order."""
    language, text = passage.language, passage.text
    if language.opening is None:
        return []
    links: list[Link] = []
    openings: set[int] = set()
    starts, ends, paragraphs = passage.starts, passage.ends, passage.paragraphs
    match_opening = language.opening.match
    for number, start in enumerate(starts):
        match = match_opening(text, start, ends[number])
        if match is None or not language.opens_with(match):
            continue
        openings.add(number)
        connective, comma = match.groups()
        relation, attachment = language.connectives[connective]
        if relation == "none":
            continue
        previous = number - 1 if number and paragraphs[number - 1] == paragraphs[number] else -1
        if relation != "summary" and (previous < 0 or previous in openings):
            continue
        end = ends[previous] if previous >= 0 else -1
        link = Link(relation, attachment, connective, comma, previous, end, number, match.end())
        links.append(link)
    links.extend(link for link in _inner_links(passage) if link.sentence not in openings)
    return links


def _inner_links(passage: Passage) -> Iterator[Link]:
    language, text = passage.language, passage.text
    if language.inner_link is None or "; " not in text:
        return
    for match in language.inner_link.finditer(text):
        connective, comma = match.groups()
        relation, attachment = language.connectives[capitalised(connective)]
        if relation not in _INNER_RELATIONS or (attachment == "comma" and not comma):
            continue
        number = passage.sentence_at(match.start())
        start, end = passage.starts[number], passage.ends[number]
        if match.end() < end <= start + 2 * MAX_CHARS and text.count(";", start, end) == 1:
            yield Link(
                relation, attachment, connective, comma, number, match.start(), number, match.end()
            )


def read_link(passage: Passage, link: Link) -> LinkedPair | None:
    """Both sides of a link; None where one cannot be quoted or leans on what is before it."""
    text, end = passage.text, passage.ends[link.sentence]
    start = passage.starts[link.premise]
    if end - link.rest > MAX_CHARS or link.premise_end - start > MAX_CHARS:
        return None
    if link.premise == link.sentence:
        premise = quotable(text[start : link.premise_end])
    else:
        premise = statement(passage, link.premise)
    if premise is None:
        return None
    if is_dangling(passage.language, premise):
        start -= _chars_before(passage, link.premise)
        premise = quotable(text[start : link.premise_end])
        if premise is None or is_dangling(passage.language, premise):
            return None
    rest = text[link.rest : end]
    hypothesis = quotable(rest)
    if hypothesis is None or not rest.endswith((".", "\u3002")):
        return None
    premise_sentence = as_sentence(text[start : link.premise_end])
    if link.attachment == "inverting":
        whole = text[passage.starts[link.sentence] : end]
        return LinkedPair(premise, premise_sentence, None, whole)
    return LinkedPair(premise, premise_sentence, capitalised(hypothesis), as_sentence(rest))


def _chars_before(passage: Passage, sentence: int) -> int:
    """How far back a dangling sentence's predecessor starts, if one is at hand; else 0."""
    if not sentence or not passage.continues(sentence - 1, sentence):
        return 0
    if statement(passage, sentence - 1) is None:
        return 0
    return passage.starts[sentence] - passage.starts[sentence - 1]
