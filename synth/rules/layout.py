"""Tasks from how a text is laid out: title, summary, words to text, completion.

They need no knowledge of the language beyond where sentences end, so any text has them.
"""

import random
from collections.abc import Sequence
from functools import partial

from pipeline.contracts import Pair
from synth.rules.candidates import Candidate, free_form, shuffled
from synth.rules.clauses import (
    MAX_CHARS,
    as_sentence,
    is_dangling,
    is_unspaced,
    quotable,
    sentence_words,
    standing_sentence,
    statement,
    whole_sentence,
)
from synth.rules.links import Link
from synth.rules.phrasing import phrase
from synth.rules.sentences import Heading, Passage

_TITLE_WORDS = (2, 16)
_WHOLE_TEXT_CHARS = 4000
_SUMMARY_FROM = 0.5
_MIN_TOPIC_SENTENCES, _MIN_SHARED_WORDS, _MIN_SHARED = 3, 3, 0.5
_TOPIC_CHARS = (40, 220)
_NUM_WORDS = (3, 5)
_LONGEST_WORDS = 8
_WORDS_SENTENCE_CHARS = (40, 240)
_START_CHARS = 500


def find_title(passage: Passage, links: Sequence[Link]) -> list[Candidate]:
    """The title of the text; headings and what stands under them."""
    del links
    return [
        Candidate((heading.sentence,), partial(_title, passage, heading))
        for heading in passage.headings
        if heading.sentence < len(passage.starts)
    ]


def _title(passage: Passage, heading: Heading, stream: random.Random) -> Pair | None:
    title = quotable(heading.text, min_spaces=0)
    if title is None:
        return None
    fewest, most = _TITLE_WORDS
    if not is_unspaced(title) and not fewest <= title.count(" ") + 1 <= most:
        return None
    pools = passage.language.pools
    if heading.is_first_line:
        return free_form(phrase(pools["title"], stream), title)
    first = statement(passage, heading.sentence)
    if first is None:
        return None
    if stream.random() < 0.5:
        return free_form(phrase(pools["section"], stream, heading=title), first + ".")
    return free_form(phrase(pools["heading"], stream, sentence=first), title)


def find_summary(passage: Passage, links: Sequence[Link]) -> list[Candidate]:
    """A closing sentence that sums up, or the sentence that sets the topic."""
    if len(passage.text) > _WHOLE_TEXT_CHARS or "summary" not in passage.language.pools:
        return []
    late = _SUMMARY_FROM * len(passage.text)
    found = [
        Candidate((link.sentence,), partial(_sum_up, passage, link))
        for link in links
        if link.relation == "summary" and link.rest > late
    ]
    if found or not passage.starts or passage.paragraphs.count(1) < _MIN_TOPIC_SENTENCES:
        return found
    return [Candidate((0,), partial(_topic, passage))]


def _sum_up(passage: Passage, link: Link, stream: random.Random) -> Pair | None:
    end = passage.ends[link.sentence]
    sentence = whole_sentence(passage, link.sentence)
    if sentence is None:
        return None
    if link.attachment != "inverting":
        rest = passage.text[link.rest : end]
        if quotable(rest) is None or is_dangling(passage.language, rest):
            return None
        sentence = as_sentence(rest)
    return free_form(phrase(passage.language.pools["summary"], stream), sentence)


def _topic(passage: Passage, stream: random.Random) -> Pair | None:
    """The first sentence, if enough of its content words come again."""
    sentence = statement(passage, 0)
    if sentence is None or not _TOPIC_CHARS[0] <= len(sentence) <= _TOPIC_CHARS[1]:
        return None
    if is_dangling(passage.language, sentence):
        return None
    rest = passage.text[passage.ends[0] :].lower()
    words = {word[:6].lower() for word in sentence_words(passage, 0)}
    num_shared = sum(word in rest for word in words)
    if num_shared < max(_MIN_SHARED_WORDS, _MIN_SHARED * len(words)):
        return None
    return free_form(phrase(passage.language.pools.get("topic", ()), stream), as_sentence(sentence))


def find_words_to_text(passage: Passage, links: Sequence[Link]) -> list[Candidate]:
    """Sentences to be written anew from their content words."""
    del links
    shortest, longest = _WORDS_SENTENCE_CHARS
    is_spaced = not is_unspaced(passage.text)
    if not is_spaced:
        shortest = shortest // 3
    return [
        Candidate((number,), partial(_from_words, passage, number))
        for number, (start, end) in enumerate(zip(passage.starts, passage.ends, strict=True))
        if shortest <= end - start <= longest
    ]


def _from_words(passage: Passage, number: int, stream: random.Random) -> Pair | None:
    sentence = standing_sentence(passage, number)
    if sentence is None or sentence.endswith("?"):
        return None
    words = sorted(sentence_words(passage, number), key=len, reverse=True)[:_LONGEST_WORDS]
    fewest, most = _NUM_WORDS
    if len(words) < fewest:
        return None
    count = min(len(words), fewest + int(stream.random() * (most - fewest + 1)))
    comma = "\u3001" if is_unspaced(sentence) else ", "
    listing = comma.join(shuffled(words, stream)[:count])
    return free_form(phrase(passage.language.pools["words"], stream, words=listing), sentence)


def find_completion(passage: Passage, links: Sequence[Link]) -> list[Candidate]:
    """Beginnings of paragraphs, each to be carried on with its next sentence or two."""
    del links
    paragraphs = passage.paragraphs
    return [
        Candidate((number,), partial(_carry_on, passage, number))
        for number in range(1, len(paragraphs))
        if paragraphs[number] == paragraphs[number - 1]
    ]


def _carry_on(passage: Passage, number: int, stream: random.Random) -> Pair | None:
    text, starts, ends = passage.text, passage.starts, passage.ends
    paragraph = passage.paragraphs[number]
    first = number - 1
    while (
        first > 0
        and passage.paragraphs[first - 1] == paragraph
        and ends[number - 1] - starts[first - 1] <= _START_CHARS
        and (is_dangling(passage.language, text[starts[first] : starts[first] + 40]))
    ):
        first -= 1
    start = text[starts[first] : ends[number - 1]]
    if len(start) > _START_CHARS or standing_sentence(passage, first) is None:
        return None
    if '"' in start or "\u201c" in start:
        return None
    response = whole_sentence(passage, number)
    if response is None:
        return None
    following = number + 1
    if (
        following < len(starts)
        and passage.paragraphs[following] == paragraph
        and ends[following] - starts[number] <= MAX_CHARS
        and whole_sentence(passage, following) is not None
        and stream.random() < 0.5
    ):
        response = text[starts[number] : ends[following]]
    return free_form(phrase(passage.language.pools["completion"], stream, start=start), response)
