r"""A text cut into headings, list lines and sentences, in one pass and without copying.

    "Rivers\n\nThey carry silt. Thus deltas grow.\n- Nile\n- Po"
     heading    sentence 0       sentence 1        item   item

Every pattern here consumes what it matches and cannot fail after a long run, so the time is linear
in the text whatever the text is.
"""

import bisect
import itertools
import re
from dataclasses import dataclass, field

from synth.rules.languages import Language

_LINE = re.compile(r"[^\n]+")
_BREAK = re.compile(
    "([.!?\u2026\u061f\u0964]+[\"'\u201d\u2019\u00bb)\\]]*)[ \u00a0]*"
    "|([\u3002\uff01\uff1f]+[\u300d\u300f\u201d\u2019\uff09\u3011]*)[ \u3000]*"
)
_BULLET = re.compile(r"[ \t]*+(?:[-*\u2022\u2023\u25aa\u00b7]|\(?\d{1,2}[.)]|\(?[a-z][.)])[ \t]++")
_MARKUP = re.compile(r"#{1,6}[ \t]++|\d{1,2}(?:\.\d{1,2})*+[.)]?[ \t]++(?=\D)")
_WORD = re.compile(r"\w+")
_TERMINATORS = ".!?\u2026\u061f\u0964\u3002\uff01\uff1f\"'\u201d\u2019\u00bb)\u300d,;:-"
_MAX_TOKEN = 8
_MAX_HEADING_CHARS = 90
_NO_HEADING = re.compile(r"https?:|www\.|[@|<>{}\\_=\u00a9\t]|\.\.\.")
_WRAPPED_CHARS = (45, 100)
_WRAPPED_SHARE, _MIN_WRAPPED_LINES = 0.8, 3
_WRAP = re.compile(r"(?<=[^\s])[ \t]?\n[ \t]*(?=[^\s])")


@dataclass(frozen=True, slots=True)
class Heading:
    """A line above a part of the text."""

    text: str
    sentence: int
    """Number of the first sentence under it."""
    is_first_line: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """A line that ends in a colon, and the list lines under it."""

    lead: str
    items: tuple[str, ...]


@dataclass(slots=True)
class Passage:
    """A text, its language and its parts."""

    text: str
    language: Language
    starts: list[int] = field(default_factory=list)
    """Where each sentence starts, ascending."""
    ends: list[int] = field(default_factory=list)
    """Where each sentence ends."""
    paragraphs: list[int] = field(default_factory=list)
    """Number of each sentence's line; a heading or a list raises it by two."""
    headings: list[Heading] = field(default_factory=list)
    listings: list[Listing] = field(default_factory=list)
    content: dict[int, list[str]] = field(default_factory=dict)
    """Content words of the sentences that were asked for (`clauses.sentence_words`)."""
    standing: dict[int, str | None] = field(default_factory=dict)
    """What was found of the sentences that were asked for (`clauses.standing_sentence`)."""

    def sentence_at(self, position: int) -> int:
        """Number of the sentence that holds a position, or of the last one before it."""
        return bisect.bisect_right(self.starts, position) - 1

    def continues(self, first: int, second: int) -> bool:
        """Whether two sentences stand in one paragraph."""
        return self.paragraphs[first] == self.paragraphs[second]


def read_passage(text: str, language: Language) -> Passage:
    """Cut a text; lines broken at a fixed width are joined first."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    passage = Passage(_unwrap(text), language)
    text = passage.text
    lead, items = "", list[str]()
    number, is_first = 0, True
    for line in _LINE.finditer(text):
        content = line.group().strip()
        if not content:
            continue
        number += 1
        bullet = _BULLET.match(text, line.start(), line.end())
        if bullet and (lead or items):
            items.append(text[bullet.end() : line.end()].strip())
            number += 1
            continue
        _close_listing(passage, lead, items)
        lead, items = content if content[-1] in ":\uff1a" else "", []
        if _is_heading(content, text, line.end()):
            heading = _MARKUP.sub("", content).rstrip("# ")
            passage.headings.append(Heading(heading, len(passage.starts), is_first))
            number += 1
        else:
            end = line.start() + len(line.group().rstrip())
            _cut_sentences(passage, bullet.end() if bullet else end - len(content), end, number)
        is_first = False
    _close_listing(passage, lead, items)
    return passage


def _close_listing(passage: Passage, lead: str, items: list[str]) -> None:
    if lead and len(items) >= 2:
        passage.listings.append(Listing(lead[:-1].rstrip(), tuple(items)))


def _cut_sentences(passage: Passage, start: int, end: int, paragraph: int) -> None:
    text = passage.text
    begin = start
    for match in _BREAK.finditer(text, start, end):
        stop = match.end(match.lastindex or 0)
        if match.end() < end and match.lastindex == 1 and not _is_end(passage, begin, match):
            continue
        passage.starts.append(begin)
        passage.ends.append(stop)
        passage.paragraphs.append(paragraph)
        begin = match.end()
    if begin < end:
        passage.starts.append(begin)
        passage.ends.append(end)
        passage.paragraphs.append(paragraph)


def _is_end(passage: Passage, begin: int, match: re.Match[str]) -> bool:
    """Whether a sign ends a sentence, by what stands before and after it."""
    text, language = passage.text, passage.language
    if match.end(1) == match.end() or text[match.end()].islower():
        return False
    if match.group(1) != ".":
        return True
    token = text[max(begin, match.start() - _MAX_TOKEN) : match.start()].rpartition(" ")[2]
    token = token.lstrip("(\"'\u201c\u2018")
    if token in language.abbreviations:
        return False
    is_doubtful = "." in token or len(token) == 1 or (token.isdigit() and len(token) <= 2)
    if not is_doubtful:
        return True
    following = _WORD.match(text, match.end())
    return following is not None and following.group() in language.starters


def _is_heading(line: str, text: str, end: int) -> bool:
    """Whether a line stands above a longer one: short, without the signs of a sentence."""
    if len(line) > _MAX_HEADING_CHARS or line[-1] in _TERMINATORS or line[0].islower():
        return False
    if 2 * sum(map(str.isalpha, line)) < len(line) or _NO_HEADING.search(line):
        return False
    below = _LINE.search(text, end)
    while below is not None and below.group().isspace():
        below = _LINE.search(text, below.end())
    return below is not None and len(below.group()) > len(line)


def _unwrap(text: str) -> str:
    num_breaks = text.count("\n")
    if num_breaks - 2 * text.count("\n\n") < _MIN_WRAPPED_LINES:
        return text
    lines = text.split("\n")
    inner = [len(line) for line, after in itertools.pairwise(lines) if line and after]
    shortest, longest = _WRAPPED_CHARS
    num_full = sum(shortest <= length <= longest for length in inner)
    if len(inner) < _MIN_WRAPPED_LINES or num_full < _WRAPPED_SHARE * len(inner):
        return text
    return _WRAP.sub(" ", text)
