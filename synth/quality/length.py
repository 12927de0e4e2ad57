"""Are the parts of a pair of a sensible size?"""

from collections.abc import Sequence

from synth.quality.config import LengthConfig
from synth.quality.words import PairWords, count_words


def length_verdict(words: PairWords, config: LengthConfig) -> str:
    """Reason to drop a pair, or empty.

    Returns:
        `instruction_too_short`, `instruction_too_long`, the same of `response` and `reasoning`,
        or `unbroken_characters`: words longer than any language has, as in encoded data.
    """
    pair = words.pair
    parts = [
        (
            *("instruction", pair.instruction, words.instruction),
            *(config.min_instruction_words, config.max_instruction_words),
        ),
        (
            *("response", pair.response, words.response),
            *(config.min_response_words, config.max_response_words),
        ),
    ]
    if pair.reasoning:
        parts.append(
            (
                *("reasoning", pair.reasoning, words.reasoning),
                *(config.min_reasoning_words, config.max_reasoning_words),
            )
        )
    for name, text, split, fewest, most in parts:
        verdict = _part_verdict(name, text, split, fewest, most, config.max_chars_per_word)
        if verdict:
            return verdict
    return ""


def _part_verdict(
    name: str, text: str, words: Sequence[str], fewest: int, most: int, max_chars_per_word: float
) -> str:
    num_words = count_words(words)
    if num_words < fewest:
        return f"{name}_too_short"
    if num_words > most:
        return f"{name}_too_long"
    if len(text) > max_chars_per_word * max(num_words, 1):
        return "unbroken_characters"
    return ""
