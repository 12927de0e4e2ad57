"""Questions of one text that ask the same thing.

Three nets, each wider than the one before:

    duplicate_question       the same words in the same order; case and punctuation aside
    near_duplicate_question  Jaccard similarity of topic units and their bigrams >= max_similarity
    repeated_response        the same response, and max_overlap_same_response of the units and
                             bigrams of the shorter question are the other's too

Topic units leave out grammar and words about the task, so "True or false: ..." frames do not make
two statements alike; they keep question words and negations. Bigrams keep "did A follow B" apart
from "did B follow A". Questions whose numbers, negations or relations differ are never near: "in
1903" and "in 1904", "before" and "after". The same one-word label ("yes") is no repeated response.
"""

import itertools
from dataclasses import dataclass

from synth.quality.config import DuplicatesConfig
from synth.quality.labels import is_known_label
from synth.quality.words import PairWords, relation_words, topic_units


@dataclass(frozen=True, slots=True)
class _Question:
    key: tuple[str, ...]
    shingles: frozenset[str]
    marks: frozenset[str]
    """Numbers, negations and relations."""
    response: tuple[str, ...]


class QuestionSet:
    """The questions of one text that were kept so far."""

    def __init__(self, config: DuplicatesConfig) -> None:
        """Start empty."""
        self._config = config
        self._questions: list[_Question] = []

    def verdict(self, words: PairWords) -> str:
        """Reason to drop a pair beside the kept ones, or empty; nothing is remembered."""
        candidate = _question(words)
        for kept in self._questions:
            if candidate.key == kept.key:
                return "duplicate_question"
            if candidate.marks != kept.marks:
                continue
            if jaccard(candidate.shingles, kept.shingles) >= self._config.max_similarity:
                return "near_duplicate_question"
            if (
                candidate.response == kept.response
                and not is_known_label(candidate.response)
                and _overlap(candidate.shingles, kept.shingles)
                >= self._config.max_overlap_same_response
            ):
                return "repeated_response"
        return ""

    def add(self, words: PairWords) -> None:
        """Remember a pair that was kept."""
        self._questions.append(_question(words))


def question_key(words: PairWords) -> tuple[str, ...]:
    """What makes two questions the same in the strict sense: their words in order.

    A question of signs alone is told apart by its text.
    """
    return tuple(words.instruction) or (words.pair.instruction.strip(),)


def word_shingles(units: list[str]) -> frozenset[str]:
    """Single units and pairs of neighbours: what questions say, and in which order."""
    return frozenset(units).union(map(" ".join, itertools.pairwise(units)))


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Size of the intersection over that of the union, in 0..1; 0 for two empty sets."""
    if not first or not second:
        return 0.0
    shared = len(first & second)
    return shared / (len(first) + len(second) - shared)


def _question(words: PairWords) -> _Question:
    units = topic_units(words.instruction) or words.instruction
    return _Question(
        key=question_key(words),
        shingles=word_shingles(units),
        marks=relation_words(words.instruction).union(unit for unit in units if unit[0].isdigit()),
        response=tuple(words.response),
    )


def _overlap(first: frozenset[str], second: frozenset[str]) -> float:
    """Share of the smaller set within the other, in 0..1; 0 for an empty set."""
    smaller = min(len(first), len(second))
    return len(first & second) / smaller if smaller else 0.0
