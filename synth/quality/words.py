"""How texts become words and content units, in scripts with and without spaces.

    "Anna's 3,500 bridges"  --split_words-->    anna s 3,500 bridges
                            --content_units-->  anna 3,500 bridg
    "東京は大きい"            --split_words-->    東 京 は 大 き い
                            --content_units-->  東京 京大       (kana dropped, then bigrams)

Words compare equal whatever their case, width and punctuation; units also whatever their ending.
"""

import itertools
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

from pipeline.contracts import Pair

# Scripts written without spaces: every character is a word. Thai, Lao, Burmese, Khmer, kana, Han.
UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ecd\u1000-\u103f\u1780-\u17d3"
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
# Vowel signs and accents, which Python's \w leaves out though they stand inside words.
_MARKS = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0670"
    "\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0981-\u0983\u09bc-\u09cd\u0a01-\u0a03\u0a3c-\u0a51"
    "\u0a81-\u0a83\u0abc-\u0acd\u0b01-\u0b03\u0b3c-\u0b57\u0b82\u0bbe-\u0bcd\u0c00-\u0c04"
    "\u0c3e-\u0c56\u0c81-\u0c83\u0cbc-\u0cd6\u0d00-\u0d03\u0d3b-\u0d4d\u0d81-\u0d83\u0dca-\u0ddf"
)
_LETTER = rf"[^\W_{UNSPACED}]"
_WORD = re.compile(rf"\d+(?:[.,]\d+)*(?!\w)|[{UNSPACED}]|{_LETTER}+(?:[{_MARKS}]+{_LETTER}*)*")
_ASCII_WORD = re.compile(r"\d+(?:[.,]\d+)*(?!\w)|[a-z0-9]+")
_UNSPACED_CHARACTER = re.compile(f"[{UNSPACED}]")

_TABLE: dict[str, str] = tomllib.loads(
    Path(__file__).with_name("vocabulary.toml").read_text(encoding="utf-8")
)
_VOCABULARY = {name: frozenset(words.split()) for name, words in _TABLE.items()}
_NOT_CONTENT = frozenset().union(
    *(
        _VOCABULARY[name]
        for name in ("function", "question", "relation", "frame", "task", "property")
    )
)
_NOT_TOPIC = _VOCABULARY["function"] | _VOCABULARY["frame"]
_HIRAGANA = re.compile("[\u3041-\u309f]")

_ENDINGS = sorted(_TABLE["endings"].split(), key=len, reverse=True)
_SHORTEST_STEM = 3


def fold(text: str) -> str:
    """Text without differences of case and width (NFKC, casefold)."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def split_words(text: str) -> list[str]:
    """The words of a text, folded; in unspaced scripts each character is one; numbers are whole."""
    folded = fold(text)
    return (_ASCII_WORD if folded.isascii() else _WORD).findall(folded)


def count_words(words: Sequence[str]) -> int:
    """Length in words of a `split_words` result, two unspaced characters counting as one word."""
    num_unspaced = sum(map(is_unspaced, words))
    return len(words) - num_unspaced + (num_unspaced + 1) // 2


def is_unspaced(word: str) -> bool:
    """Whether a word is one character of a script written without spaces."""
    return not word.isascii() and bool(_UNSPACED_CHARACTER.match(word))


@lru_cache(maxsize=2**17)
def stem(word: str) -> str:
    """A word without its ending, so that "built by builders" meets "builder", "cities" "city".

    Up to two listed endings ("build-er-s") go from Latin-script words if three letters remain, and
    a doubled last letter is undone ("run-n-ing"); words of other alphabets lose their last two
    letters from six letters on.
    """
    if len(word) <= _SHORTEST_STEM or word[0].isdigit():
        return word
    if word[0] > "\u024f":
        return word[:-2] if len(word) >= 6 else word
    word = _without_ending(_without_ending(word))
    return word[:-1] if len(word) > _SHORTEST_STEM and word[-1] == word[-2] else word


def _without_ending(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            return word[: -len(ending)]
    return word


def content_units(words: Sequence[str]) -> list[str]:
    """What a text speaks of, in order: stems of content words, bigrams of unspaced characters.

    Grammar, question words, negations and words about the task are left out; where nothing else
    remains the list is empty. An unspaced character without neighbour stands alone. Hiragana, which
    is mostly grammar, counts only where there is nothing else.
    """
    return _units(words, _NOT_CONTENT) or _units(words, _NOT_CONTENT, keep_hiragana=True)


def topic_units(words: Sequence[str]) -> list[str]:
    """Units that tell questions apart: as `content_units`, with question words and negations."""
    return _units(words, _NOT_TOPIC) or _units(words, _NOT_TOPIC, keep_hiragana=True)


def relation_words(words: Sequence[str]) -> frozenset[str]:
    """Negations and relations among the words: "not", "before", "more"."""
    return _VOCABULARY["relation"].intersection(words)


def property_words(words: Sequence[str]) -> frozenset[str]:
    """Properties of a text as a whole among the words: "tone", "genre"."""
    return _VOCABULARY["property"].intersection(words)


def unspaced_bigrams(words: Sequence[str]) -> list[str]:
    """Every two neighbouring unspaced characters, hiragana and grammar included."""
    pairs = itertools.pairwise(words)
    return [first + second for first, second in pairs if is_unspaced(first) and is_unspaced(second)]


def _units(
    words: Sequence[str], left_out: frozenset[str], *, keep_hiragana: bool = False
) -> list[str]:
    if all(map(str.isascii, words)):
        return [stem(word) for word in words if word not in left_out]
    units: list[str] = []
    run = ""
    for word in words:
        if word in left_out:
            continue
        if not is_unspaced(word):
            units.extend(_bigrams(run))
            run = ""
            units.append(stem(word))
        elif keep_hiragana or not _HIRAGANA.match(word):
            run += word
    return [*units, *_bigrams(run)]


def _bigrams(run: str) -> Iterable[str]:
    return [run[i : i + 2] for i in range(len(run) - 1)] if len(run) > 1 else [run] if run else []


class PairWords:
    """The words of a pair, split once and shared by all checks."""

    def __init__(self, pair: Pair) -> None:
        """Words are split on first use."""
        self.pair = pair

    @cached_property
    def instruction(self) -> list[str]:
        """Words of the instruction, without its options."""
        return split_words(self.pair.instruction)

    @cached_property
    def response(self) -> list[str]:
        """Words of the response."""
        return split_words(self.pair.response)

    @cached_property
    def reasoning(self) -> list[str]:
        """Words of the reasoning; empty without one."""
        return split_words(self.pair.reasoning)
