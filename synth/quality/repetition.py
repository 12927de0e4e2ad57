"""Has the generation fallen into a loop?

    character_loop     one letter or mark many times in a row: "nooooooooooooo", "!!!!!!!!!!!!"
    repetition_loop    a phrase directly after itself too often, or too many 4-word sequences that
                       stood in the same part before

In unspaced scripts every character is a word, so that both rules see loops of characters there.
The share follows Rae et al. 2021 (Gopher, table A1: duplicate n-grams) on words, not on documents.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from synth.quality.config import RepetitionConfig
from synth.quality.words import PairWords

_N = 4


def repetition_verdict(words: PairWords, config: RepetitionConfig) -> str:
    """Reason to drop a pair: `character_loop`, `repetition_loop`, or empty."""
    pair = words.pair
    character_loop = _character_loop(config.max_same_character)
    for text, split in (
        (pair.instruction, words.instruction),
        (pair.response, words.response),
        (pair.reasoning, words.reasoning),
    ):
        if character_loop.search(text):
            return "character_loop"
        if is_loop(split, config):
            return "repetition_loop"
    return ""


def is_loop(words: Sequence[str], config: RepetitionConfig) -> bool:
    """Whether one part loops, by consecutive repeats or by its share of repeated sequences."""
    if _has_run(words, 1, config.max_consecutive + 1):
        return True
    num_sequences = len(words) - _N + 1
    if num_sequences < 1:
        return False
    shifted = (words[offset:] for offset in range(_N))
    num_repeated = num_sequences - len(set(zip(*shifted, strict=False)))
    if not num_repeated:  # then no phrase of two words or more follows itself twice
        return False
    if len(words) >= config.min_words and (
        num_repeated > config.max_repeated_share * num_sequences
    ):
        return True
    return any(
        _has_run(words, length, config.max_consecutive + 1)
        for length in range(2, config.max_phrase_words + 1)
    )


def _has_run(words: Sequence[str], length: int, times: int) -> bool:
    """Whether some phrase of `length` words stands `times` times in a row."""
    needed = length * (times - 1)
    if len(words) < needed + length:
        return False
    run = 0
    for first, second in zip(words, words[length:], strict=False):
        run = run + 1 if first == second else 0
        if run >= needed:
            return True
    return False


@lru_cache(maxsize=16)
def _character_loop(most: int) -> re.Pattern[str]:
    # Other signs draw rulers, gaps and tables: "______", "-----", ".....".
    return re.compile(rf"([^\W\d_]|[!?,;:])\1{{{most},}}")
