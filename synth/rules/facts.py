"""Tasks from sentences and lines that state facts: definitions, numbers, lists.

"A delta is a plain of silt at a river's mouth."    what is a delta?  -> "A plain of silt ..."
"The dam was built in 1902."                        in ____?  -> 1902, among other years
"Its parts are:" and list lines under it            which are they?  -> the lines
"""

import random
import re
from collections.abc import Sequence
from functools import partial
from itertools import chain

from pipeline.contracts import Pair
from synth.rules.candidates import BLANK, Candidate, draw, free_form, multiple_choice, shuffled
from synth.rules.clauses import (
    MAX_CHARS,
    as_sentence,
    inline,
    is_dangling,
    quotable,
    sentence_words,
    standing_sentence,
)
from synth.rules.links import Link
from synth.rules.phrasing import phrase
from synth.rules.sentences import Listing, Passage

_MIN_DESCRIPTION_WORDS = 5
_NUMBER = re.compile(r"(?<![\w.,/-])[$\u20ac\u00a3]?\d++(?:[.,]\d++)*+%?(?![\w/-])")
_NUMBER_HINT = re.compile(r"\d[\d.,%]|[$\u20ac\u00a3]\d")
"""Finds what `_NUMBER` does of two characters and more, less exactly and faster."""
_YEAR = re.compile(r"1[0-9]\d\d|20\d\d")
_NUM_OPTIONS, _MAX_TRIES = 4, 20
_YEARS_APART = 15
_AROUND, _MAX_AROUND_CHARS = 1, 1500
_DAYS = 31
_GLOSSARY_LINE = re.compile(
    r"^[ \t]*+(?:[-*\u2022][ \t]++)?([^\W\d_][^\n:\u2013\u2014]{1,40}+)"
    r"(?::| [\u2013\u2014-]|\uff1a)[ \t]*+(\S[^\n]{20,299})$",
    re.MULTILINE,
)
_MAX_LIST_CHARS, _MAX_LIST_ITEMS = 800, 12


def find_definition(passage: Passage, links: Sequence[Link]) -> list[Candidate]:
    """Sentences `term is a ...`, and glossary lines `term: ...`."""
    del links
    found: list[Candidate] = []
    language, text = passage.language, passage.text
    if language.definition is not None:
        for number, start in enumerate(passage.starts):
            end = passage.ends[number]
            if end - start <= MAX_CHARS and (match := language.definition.match(text, start, end)):
                found.append(Candidate((number,), partial(_define, passage, number, match)))
    if text.count("\n") and "glossary" in language.pools:
        entries = _GLOSSARY_LINE.findall(text)
        terms = [term.strip() for term, _ in entries]
        # A name that comes twice is a speaker, not a term.
        if len(entries) >= 2 and len(set(terms)) == len(terms):
            found += [
                Candidate((), partial(_look_up, passage, term, meaning))
                for term, (_, meaning) in zip(terms, entries, strict=True)
            ]
    return found


def _define(
    passage: Passage, number: int, match: re.Match[str], stream: random.Random
) -> Pair | None:
    language = passage.language
    term, copula = match.groups()
    words = term.lower().replace("\u2019", "'").split()
    if not term[0].isupper() or is_dangling(language, term):
        return None
    if not language.not_in_terms.isdisjoint(words):
        return None
    description = passage.text[match.end() : passage.ends[number]]
    if not description.endswith(".") or quotable(description) is None:
        return None
    for joint in language.joints:
        head, found, _ = description.partition(joint)
        if found and description.count(",") == 1:
            description = head
    if description.count(" ") < _MIN_DESCRIPTION_WORDS - 1 or ";" in description:
        return None
    if description.split(" ", 2)[1].lower() in language.not_in_terms:  # "is the only one that"
        return None
    term = _term_inline(passage, term)
    question = phrase(language.pools.get("definition", ()), stream, term=term, copula=copula)
    return free_form(question, as_sentence(description))


def _term_inline(passage: Passage, term: str) -> str:
    """A term as it is written within a sentence; a name keeps its capital."""
    written = inline(passage, term)
    if written is not None:
        return written
    first, _, rest = term.partition(" ")
    lowered = first[0].lower() + first[1:]
    is_name = not rest[:1].islower() and f" {lowered}" not in passage.text
    return term if is_name or first.isupper() else lowered + term[len(first) :]


def _look_up(passage: Passage, term: str, meaning: str, stream: random.Random) -> Pair | None:
    pool = passage.language.pools["glossary"]
    meaning = meaning.strip()
    if quotable(term, min_spaces=0) is None and len(term) > 1:
        return None
    if quotable(meaning) is None or meaning.count(" ") < _MIN_DESCRIPTION_WORDS - 1:
        return None
    if meaning.endswith((":", ",")):
        return None
    if not passage.language.not_in_terms.isdisjoint(term.lower().split()):
        return None
    return free_form(phrase(pool, stream, term=term), meaning)


def find_gap(passage: Passage, links: Sequence[Link]) -> list[Candidate]:
    """Numbers of two digits and more to be put back into their sentences; without any, words."""
    del links
    if "gap" not in passage.language.pools:
        return []
    matches = []
    if _NUMBER_HINT.search(passage.text):
        matches = [match for match in _NUMBER.finditer(passage.text) if len(match.group()) > 1]
    numbers = [match.group() for match in matches]
    found = [
        Candidate((number,), partial(_leave_out, passage, number, match, numbers))
        for match in matches
        if (number := passage.sentence_at(match.start())) >= 0
    ]
    if found or "gap_word" not in passage.language.pools:
        return found
    return [
        Candidate((number,), partial(_leave_out_word, passage, number))
        for number in range(len(passage.starts))
    ]


def _leave_out(
    passage: Passage,
    number: int,
    match: re.Match[str],
    numbers: Sequence[str],
    stream: random.Random,
) -> Pair | None:
    sentence = standing_sentence(passage, number)
    start = passage.starts[number]
    if sentence is None or match.start() == start or match.end() > passage.ends[number]:
        return None
    answer = match.group()
    before, after = sentence[: match.start() - start], sentence[match.end() - start :]
    digits = answer.strip("$\u20ac\u00a3%")
    if after[:1] in ("'", "\u2019"):  # "the 1980's"
        return None
    if digits in before or digits in after:
        return None
    options = [answer, *_distractors(answer, sentence, numbers, stream)]
    question = phrase(passage.language.pools["gap"], stream, gapped=before + BLANK + after)
    return multiple_choice(question, answer, options, stream)


def _leave_out_word(passage: Passage, number: int, stream: random.Random) -> Pair | None:
    sentence = standing_sentence(passage, number)
    if sentence is None or len(sentence) > MAX_CHARS:
        return None
    words = sentence_words(passage, number)
    if not words or sentence.count(answer := draw(words, stream)) > 1:
        return None
    first, last = max(0, number - _AROUND), min(len(passage.starts) - 1, number + _AROUND)
    if passage.ends[last] - passage.starts[first] > _MAX_AROUND_CHARS:
        return None
    around = (sentence_words(passage, near) for near in range(first, last + 1) if near != number)
    others = [
        word
        for word in dict.fromkeys(chain.from_iterable(around))
        if word not in words and word[0].isupper() == answer[0].isupper()
    ]
    if len(others) < _NUM_OPTIONS - 1:
        return None
    # Words of one ending tend to be of one kind, so that grammar alone does not give the answer.
    others = sorted(shuffled(others, stream), key=lambda word: word[-2:] != answer[-2:])
    gapped = sentence.replace(answer, BLANK)
    question = phrase(passage.language.pools["gap_word"], stream, gapped=gapped)
    options = [answer, *others[: _NUM_OPTIONS - 1]]
    return multiple_choice(question, answer, options, stream)


def _distractors(
    answer: str, sentence: str, numbers: Sequence[str], stream: random.Random
) -> list[str]:
    """Numbers of the text that look like the answer; short of those, its digits changed."""
    shape = _shape(answer)
    alike = {
        number
        for number in numbers[:200]
        if number != answer and number not in sentence and _shape(number) == shape
    }
    chosen = shuffled(sorted(alike), stream)[: _NUM_OPTIONS - 2]
    for _ in range(_MAX_TRIES):
        if len(chosen) == _NUM_OPTIONS - 1:
            break
        other = _changed(answer, shape, stream)
        if other != answer and other not in chosen and other not in sentence:
            chosen.append(other)
    return chosen


def _changed(number: str, shape: str, stream: random.Random) -> str:
    """Another number of that shape: a near year, a day of the month, else its digits changed."""
    if shape == "year":
        return str(int(number) + 1 + int(stream.random() * 2 * _YEARS_APART) - _YEARS_APART)
    if shape == "day":
        return str(2 + int(stream.random() * (_DAYS - 1)))
    signs = list(number)
    places = [place for place, sign in enumerate(signs) if sign.isdecimal()][:2]
    for place in places:
        lowest = 1 if place == places[0] else 0
        signs[place] = str(lowest + int(stream.random() * (10 - lowest)))
    return "".join(signs)


def _shape(number: str) -> str:
    """What a number looks like: a year, a day, else its currency, its signs and its length."""
    if _YEAR.fullmatch(number):
        return "year"
    if number.isdecimal() and len(number) <= 2 and int(number) <= _DAYS:
        return "day"
    return re.sub(r"\d+", lambda digits: "9" if len(digits.group()) < 3 else "99", number)


def find_list(passage: Passage, links: Sequence[Link]) -> list[Candidate]:
    """List lines under a line that ends in a colon."""
    del links
    if "list" not in passage.language.pools:
        return []
    return [Candidate((), partial(_enumerate, passage, listing)) for listing in passage.listings]


def _enumerate(passage: Passage, listing: Listing, stream: random.Random) -> Pair | None:
    lead = quotable(listing.lead.rpartition(". ")[2])
    response = "\n".join(f"- {item}" for item in listing.items)
    if (
        lead is None
        or is_dangling(passage.language, lead)
        or len(response) > _MAX_LIST_CHARS
        or len(listing.items) > _MAX_LIST_ITEMS
    ):
        return None
    if not all(listing.items):
        return None
    return free_form(phrase(passage.language.pools["list"], stream, lead=lead), response)
