"""Does a pair repeat the prompt's examples, or its response the instruction?

An echo string (see `echo_strings`) is an instruction alone or an instruction with its response.

    echoes_prompt         the pair is an example: instruction and response together are near it; or
                          its instruction is, and asks about things that the text does not name.
                          A general question ("What is the main idea?") may well be asked again.
    repeats_instruction   the response is the instruction
    answer_in_question    the response is a phrase of the instruction, of three content words or
                          more, and the instruction does not offer it: it holds no "or", no
                          colon, no quotation and no options
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from pipeline.contracts import Pair
from synth.quality.config import EchoConfig
from synth.quality.duplicates import jaccard, word_shingles
from synth.quality.text_index import TextIndex
from synth.quality.words import PairWords, content_units, split_words

_OFFERS = re.compile(
    r"[:\n\"\u201c\u201d\u201e\u00ab\u00bb]|\b(?:or|oder|ou|o|of|eller)\b|还是|或|それとも"
)
_FEWEST_UNITS_OF_AN_ANSWER = 3


def echo_strings(pairs: Iterable[Pair]) -> frozenset[str]:
    """What to pass as `echoes` for examples that a prompt shows: each question, and each pair."""
    strings: set[str] = set()
    for pair in pairs:
        strings |= {pair.instruction, f"{pair.instruction}\n{pair.response}"}
    return frozenset(strings)


def echo_verdict(
    index: TextIndex, words: PairWords, echoes: frozenset[str], config: EchoConfig
) -> str:
    """Reason to drop a pair, or empty; `echoes` are the examples' strings."""
    if words.response and words.response == words.instruction:
        return "repeats_instruction"
    if echoes and _is_echo(index, words, _shingle_all(echoes), config.max_similarity):
        return "echoes_prompt"
    return "answer_in_question" if _gives_itself_away(words) else ""


def _is_echo(
    index: TextIndex,
    words: PairWords,
    echoes: tuple[frozenset[str], ...],
    max_similarity: float,
) -> bool:
    question = word_shingles(words.instruction)
    both = word_shingles(words.instruction + words.response)
    for echo in echoes:
        if jaccard(both, echo) >= max_similarity and words.response:
            return True
        if jaccard(question, echo) >= max_similarity:
            support = index.support(words.instruction)
            if support is not None and support < 1:
                return True
    return False


def _gives_itself_away(words: PairWords) -> bool:
    pair = words.pair
    if pair.options or _OFFERS.search(pair.instruction.rstrip().rstrip("\"'”»:")):
        return False
    if f" {' '.join(words.response)} " not in f" {' '.join(words.instruction)} ":
        return False
    return len(content_units(words.response)) >= _FEWEST_UNITS_OF_AN_ANSWER


@lru_cache(maxsize=1024)
def _shingle_all(echoes: frozenset[str]) -> tuple[frozenset[str], ...]:
    return tuple(word_shingles(split_words(echo)) for echo in sorted(echoes))
