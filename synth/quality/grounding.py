"""Is a response supported by its text?

The evidence that is judged, first that applies:

    reasoning    the response is a label and the pair has a reasoning
    instruction  the response is a label and the pair has no reasoning
    response     otherwise

A label judges the text and is no piece of it: "true", "neutral"; a category none of whose fellow
options the text speaks of; at most four words in answer to a question for the tone or the genre.

Score of the evidence, 0..1:

    1.0    the response stands in the text word for word (case and punctuation aside)
    share  of the evidence's distinct content units (stems, numbers, CJK bigrams) in the text
    0.5    the evidence holds no content unit to judge by ("What is the tone?" - "positive")

Verdicts on top: each number of a response must be in the text (`number_not_in_text`), and the
share must reach a threshold (`ungrounded`). Where there is a reasoning, the final number may be
derived: then the reasoning must use one of the text's numbers, if the text has any. Statements to
be judged false differ from the text by design, so labels have a lower threshold and no check of
numbers. Evidence without content unit passes: nothing speaks against it.

The rule compares words, not meaning: a wrong combination of the text's own words passes, a free
paraphrase may fall. `min_support` is the knob between the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.contracts import Pair
from synth.quality.config import GroundingConfig
from synth.quality.labels import is_known_label
from synth.quality.numbers import number_mentions
from synth.quality.text_index import TextIndex
from synth.quality.words import PairWords, content_units, fold, property_words, split_words
from synth.sentences import sentences_around

Evidence = Literal["copied", "response", "reasoning", "instruction", "none"]

UNKNOWN_SCORE = 0.5
_OPTION_SUPPORT = 0.5
_LONGEST_PROPERTY = 4


@dataclass(frozen=True, slots=True)
class Grounding:
    """What was judged and how well the text supports it."""

    evidence: Evidence
    score: float


def assess_grounding(index: TextIndex, pair: Pair, words: PairWords | None = None) -> Grounding:
    """Score a pair against its text, by the rule at the head of this file.

    Args:
        index: the pair's text.
        pair: what to judge.
        words: the pair's words, if they are at hand.
    """
    words = words or PairWords(pair)
    if is_label(index, words):
        if pair.reasoning:
            return _judged("reasoning", index.support(words.reasoning))
        return _judged("instruction", index.support(words.instruction))
    if index.copies(words.response):
        return Grounding("copied", 1.0)
    return _judged("response", index.support(words.response))


def grounding_score(index: TextIndex, pair: Pair) -> float:
    """How well the text supports a pair, in 0..1; 0.5 where words cannot tell."""
    return assess_grounding(index, pair).score


def is_label(index: TextIndex, words: PairWords) -> bool:
    """Whether a response is a judgement about the text and not a piece of its content.

    Such are the known labels; one of several options of which the text holds none; and a short
    answer to a question for a property of the text, such as its tone, and for nothing else.
    """
    if is_known_label(words.response):
        return True
    if (
        len(words.response) <= _LONGEST_PROPERTY
        and property_words(words.instruction)
        and not content_units(words.instruction)
    ):
        return True
    options = words.pair.options
    if len(options) < 2:
        return False
    supports = (index.support(split_words(option)) for option in options)
    return all((support or 0.0) < _OPTION_SUPPORT for support in supports)


def grounding_verdict(
    index: TextIndex, pair: Pair, words: PairWords, config: GroundingConfig
) -> str:
    """Reason to drop a pair: `number_not_in_text`, `ungrounded`, or empty."""
    grounding = assess_grounding(index, pair, words)
    if grounding.evidence == "copied" or grounding.evidence == "none":
        return ""
    if grounding.evidence == "response":
        if config.numbers and not _numbers_supported(index, pair):
            return "number_not_in_text"
        if pair.reasoning and number_mentions(fold(pair.response)):
            # A derived number: its reasoning is what the text can support.
            support = index.support(words.reasoning)
            return "" if support is None or support >= config.min_label_support else "ungrounded"
        return "" if grounding.score >= config.min_support else "ungrounded"
    return "" if grounding.score >= config.min_label_support else "ungrounded"


def question_verdict(index: TextIndex, words: PairWords, min_support: float) -> str:
    """Judge a question that was written to a given answer; 0 for `min_support` passes all.

    Returns:
        `answer_in_question` if it holds the answer, `question_beside_text` if it speaks of other
        things than the text, `question_beside_answer` if it speaks of other things than the
        sentence with the answer and the one before, or empty.
    """
    if not min_support:
        return ""
    if f" {' '.join(words.response)} " in f" {' '.join(words.instruction)} ":
        return "answer_in_question"
    if not _supports(index, words.instruction, min_support):
        return "question_beside_text"
    start = index.text.find(words.pair.response)
    if start < 0:
        return ""
    around = sentences_around(index.text, start, start + len(words.pair.response), num_before=1)
    is_near = _supports(TextIndex(around), words.instruction, min_support)
    return "" if is_near else "question_beside_answer"


def _supports(index: TextIndex, words: Sequence[str], min_support: float) -> bool:
    support = index.support(words)
    return support is not None and support >= min_support


def _judged(evidence: Evidence, support: float | None) -> Grounding:
    return Grounding("none", UNKNOWN_SCORE) if support is None else Grounding(evidence, support)


def _numbers_supported(index: TextIndex, pair: Pair) -> bool:
    mentions = number_mentions(fold(pair.response))
    if all(mention & index.numbers for mention in mentions):
        return True
    if not pair.reasoning:
        return False
    used = number_mentions(fold(pair.reasoning))
    return not index.numbers or any(mention & index.numbers for mention in used)
