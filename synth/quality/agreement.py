"""Does a second answer agree with the first? The pure half of the round trip.

An engine is asked the question again (elsewhere); the two answers agree if, first that applies:

    options   the second answer is the same option: its text, its label ("B", "(2)"), or the one
              option that it names
    label     both are labels such as "yes": the second begins with the first
    number    the first is a number with at most a unit: the second names the same number, in any
              form, and no other; of a reasoning, the last one counts
    otherwise token F1 >= min_f1, after SQuAD's normalisation (Rajpurkar et al. 2016: case,
              punctuation and articles removed, bags of tokens), CJK by characters
"""

import re
from collections import Counter

from pipeline.contracts import Pair
from synth.quality.numbers import number_mentions, value_of_word
from synth.quality.words import fold, split_words

DISAGREES = "answers_disagree"

_ARTICLES = frozenset(
    {"a", "an", "the", "der", "die", "das", "le", "la", "les", "el", "los", "las"}
)
_YES_NO = frozenset(
    {"yes", "no", "true", "false", "ja", "nein", "oui", "non", "sí", "vrai", "faux"}
)
_THEREFORE = re.compile(r"(?:therefore, )?the (?:final )?answer is:?\s+", re.IGNORECASE)
_LABEL = re.compile(r"^\W*(?:option\s+)?([a-z]|\d{1,2})\W*(?:$|[.):]\s)")
_MOST_UNIT_WORDS = 2


def answers_agree(first: Pair, second_answer: str, min_f1: float) -> str:
    """Compare a pair's response with a second answer to its instruction.

    Args:
        first: the pair; its options and kind decide how answers are compared.
        second_answer: what was answered the second time; a reasoning before "the answer is" is
            left aside.
        min_f1: smallest token F1 of free answers, 0..1.

    Returns:
        Empty if they agree, else `answers_disagree`.
    """
    return "" if _agree(first, _final_answer(second_answer), min_f1) else DISAGREES


def token_f1(first: str, second: str) -> float:
    """F1 of two answers' bags of tokens after normalisation, 0..1; 1 for two empty ones."""
    counts = Counter(_normalised(first)), Counter(_normalised(second))
    shared = (counts[0] & counts[1]).total()
    if not counts[0] or not counts[1]:
        return float(counts[0] == counts[1])
    return 2 * shared / (counts[0].total() + counts[1].total())


def _agree(first: Pair, second: str, min_f1: float) -> bool:
    if first.options:
        return chosen_option(first.options, second) == first.response
    words, second_words = _normalised(first.response), _normalised(second)
    if len(words) == 1 and words[0] in _YES_NO:
        return second_words[:1] == words
    numbers = _numbers(first.response)
    if len(numbers) == 1 and len(words) <= 1 + _MOST_UNIT_WORDS:
        seconds = _numbers(second)
        if seconds:
            # A second answer that derives its number ends with it.
            chosen = seconds[-1:] if first.reasoning else seconds
            return all(numbers[0] & number for number in chosen)
    return token_f1(first.response, second) >= min_f1


def chosen_option(options: tuple[str, ...], answer: str) -> str:
    """The option that an answer names by text or label; empty if none or several."""
    normalised = {option: _normalised(option) for option in options}
    wanted = _normalised(answer)
    exact = [option for option in options if normalised[option] == wanted]
    if exact:
        return exact[0]
    label = _LABEL.match(fold(answer))
    if label:
        position = int(label[1]) - 1 if label[1].isdecimal() else ord(label[1]) - ord("a")
        if 0 <= position < len(options):
            return options[position]
    spoken = f" {' '.join(wanted)} "
    named = [option for option in options if f" {' '.join(normalised[option])} " in spoken]
    # The longest of those that lie in one another: "red" is part of "dark red".
    longest = max(named, key=len, default="")
    return longest if all(_lies_in(option, longest) for option in named) else ""


def _lies_in(option: str, other: str) -> bool:
    return f" {' '.join(_normalised(option))} " in f" {' '.join(_normalised(other))} "


def _final_answer(answer: str) -> str:
    return _THEREFORE.split(answer)[-1].strip()


def _normalised(answer: str) -> list[str]:
    return [word for word in split_words(answer) if word not in _ARTICLES]


def _numbers(answer: str) -> list[frozenset[str]]:
    mentions = number_mentions(fold(answer))
    if mentions:
        return mentions
    values = map(value_of_word, split_words(answer))
    return [frozenset({value}) for value in values if value]
