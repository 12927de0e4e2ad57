"""Texts as words, words as 64-bit hashes, n-grams as one polynomial hash each.

    "Don't panic: it's 42."  ─▶  don t panic it s 42  ─▶  h0 h1 h2 h3 h4 h5
                                                          └──n-gram──┘ = h0 + h1 B + ... mod 2^64

With prefix sums P[k] = sum of h[i] B^i for i < k, the n-gram at s is (P[s+n] - P[s]) B^-s, so every
length costs one subtraction and one product a word (Karp and Rabin 1987, on words). The word hashes
are random 64-bit numbers, so two n-grams collide about as seldom as two xxhashes do.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import xxhash

HashArray: TypeAlias = npt.NDArray[np.uint64]
IntArray: TypeAlias = npt.NDArray[np.int64]

# Scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, kana, Han.
_UNSPACED = (
    "\u0e01-\u0e4e\u0e81-\u0ece\u1000-\u103f\u1780-\u17d3\u3041-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
# Marks that `\w` does not hold although they stand inside words: accents without a composed
# letter, Hebrew and Arabic points, the vowel signs of the Indic scripts.
_MARKS = (
    "\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0900-\u0963\u0971-\u0df3\u0f71-\u0f84"
)
_WORD = re.compile(rf"[{_UNSPACED}]|(?:[^\W_{_UNSPACED}]|[{_MARKS}])+")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_BREAK = re.compile(rf"(?![{_MARKS}])[\W_{_UNSPACED}]")
_BLOCK_CHARS = 1 << 18

_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
_MAX_KNOWN_WORDS = 1 << 20
_ONE = np.ones(1, np.uint64)


def word_blocks(text: str, block_chars: int = _BLOCK_CHARS) -> Iterator[list[str]]:
    """The words of a text in order, in lists that bound the memory of a long text.

    Compatibility forms (NFKC), letter case, punctuation and invisible characters make no
    difference. A script without spaces gives one word a character.

    Args:
        text: any text.
        block_chars: characters of a block, extended to the end of its last word.
    """
    if not text.isascii():
        text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    text = text.casefold()
    start = 0
    while start < len(text):
        gap = _BREAK.search(text, start + block_chars)
        end = gap.start() if gap else len(text)
        yield _WORD.findall(text, start, end)
        start = end


def split_words(text: str) -> list[str]:
    """All words of a text; see `word_blocks`."""
    return [word for block in word_blocks(text) for word in block]


def is_plain_word(word: str) -> bool:
    """Whether a word is more than a number or a single letter, the stuff of lists and tables."""
    return not word.isascii() or (len(word) > 1 and word.isalpha())


class _WordHashes(dict[str, int]):
    """Hashes of words met before; a text repeats most of its words."""

    def __missing__(self, word: str) -> int:
        value = xxhash.xxh3_64_intdigest(word.encode(errors="surrogatepass"))
        if len(self) < _MAX_KNOWN_WORDS:
            self[word] = value
        return value


_known_words = _WordHashes()


def hash_words(words: list[str]) -> HashArray:
    """xxh3-64 of each word."""
    return np.fromiter(map(_known_words.__getitem__, words), np.uint64, len(words))


class _Powers:
    """B^i and B^-i modulo 2^64 for i = 0, 1, ..., as many as were asked for so far."""

    def __init__(self) -> None:
        self._powers = self._inverses = _ONE

    def first(self, count: int) -> tuple[HashArray, HashArray]:
        if len(self._powers) < count:
            size = 1 << count.bit_length()
            self._powers = _geometric(_BASE, size)
            self._inverses = _geometric(pow(_BASE, -1, 1 << 64), size)
        return self._powers[:count], self._inverses[:count]


def _geometric(base: int, size: int) -> HashArray:
    factors = np.full(size, base, np.uint64)
    factors[0] = 1
    return np.cumprod(factors, dtype=np.uint64)


_powers = _Powers()


def _prefix_sums(hashes: HashArray) -> HashArray:
    powers, _ = _powers.first(len(hashes))
    sums = np.zeros(len(hashes) + 1, np.uint64)
    np.cumsum(hashes * powers, out=sums[1:])
    return sums


def window_hashes(hashes: HashArray, lengths: tuple[int, ...]) -> list[HashArray]:
    """Hashes of all n-grams of a text, for each n of `lengths`; entry k begins at word k."""
    sums = _prefix_sums(hashes)
    _, inverses = _powers.first(len(hashes))
    return [
        (sums[n:] - sums[:-n]) * inverses[: max(0, len(hashes) - n + 1)]
        if n <= len(hashes)
        else hashes[:0]
        for n in lengths
    ]


def gram_hashes(hashes: HashArray, starts: IntArray, lengths: IntArray) -> HashArray:
    """Hashes of chosen n-grams: the one of `lengths[k]` words from word `starts[k]`, for each k."""
    sums = _prefix_sums(hashes)
    _, inverses = _powers.first(len(hashes))
    found: HashArray = (sums[starts + lengths] - sums[starts]) * inverses[starts]
    return found
