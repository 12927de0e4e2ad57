"""Figures of a corpus of pairs, in one pass and flat memory: has the generator collapsed?

Counts and histograms cover every pair. What compares pairs with one another (openings, distinct
n-grams, self-BLEU) is taken on samples keyed on content, of a fixed size:

    openings       10,000 instructions
    distinct_n      2,000 of them
    self_bleu         200 of those

so that runs of different size compare, and the same pairs give the same figures in any order and
any number of shards (`merge`). A corpus smaller than a sample is covered whole; `sampled` says how
many pairs each figure rests on. A pair that a document holds twice is sampled once.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from typing import Any

import xxhash

from pipeline.contracts import Pair
from synth.quality.categories import categorise
from synth.quality.diversity import distinct_share, opening_shares, self_bleu
from synth.quality.duplicates import question_key
from synth.quality.grounding import Grounding, assess_grounding
from synth.quality.sampling import ContentSample
from synth.quality.text_index import TextIndex
from synth.quality.words import PairWords, count_words, split_words

GROUNDED_FROM = 0.75

_OPENING_WORDS, _NUM_TOP_OPENINGS = 3, 10
_OPENING_SAMPLE, _DISTINCT_SAMPLE, _SELF_BLEU_SAMPLE = 10_000, 2_000, 200
_WORD_BINS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)
_MOST_PAIRS = 20
_NUM_SCORE_BINS = 10


class CorpusMetrics:
    """Accumulates the figures of documents and their pairs."""

    def __init__(self) -> None:
        """Start with an empty corpus."""
        self._counts: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._categories: Counter[str] = Counter()
        self._pairs_per_document: Counter[int] = Counter()
        self._instruction_words: Counter[int] = Counter()
        self._response_words: Counter[int] = Counter()
        self._grounding: Counter[int] = Counter()
        self._instructions = ContentSample(_OPENING_SAMPLE)

    def add(self, text: str, pairs: Sequence[Pair]) -> None:
        """Count one document; it may have no pairs."""
        self._counts["documents"] += 1
        self._counts["documents_with_pair"] += bool(pairs)
        self._pairs_per_document[min(len(pairs), _MOST_PAIRS)] += 1
        if not pairs:
            return
        index = TextIndex(text)
        text_digest = _digest(text)
        all_words = [PairWords(pair) for pair in pairs]
        self._counts["pairs"] += len(pairs)
        self._counts["unique_questions"] += len(set(map(question_key, all_words)))
        for pair, words in zip(pairs, all_words, strict=True):
            self._add_pair(index, text_digest, pair, words)

    def merge(self, other: "CorpusMetrics") -> None:
        """Take in the figures of another part of the corpus; `other` stays as it is."""
        for own, others in zip(self._counters(), other._counters(), strict=True):
            own.update(others)
        self._instructions.merge(other._instructions)

    def result(self) -> dict[str, Any]:
        """The figures as JSON-like values; shares lie in 0..1 and are rounded to four digits."""
        num_pairs = self._counts["pairs"]
        sample = [split_words(instruction) for instruction in self._instructions.values()]
        distinct_sample, bleu_sample = sample[:_DISTINCT_SAMPLE], sample[:_SELF_BLEU_SAMPLE]
        openings = opening_shares(sample, _OPENING_WORDS, _NUM_TOP_OPENINGS)
        return {
            "documents": self._counts["documents"],
            "documents_with_pair": self._counts["documents_with_pair"],
            "pairs": num_pairs,
            "unique_question_share": _share(self._counts["unique_questions"], num_pairs),
            **{
                f"distinct_{order}": round(distinct_share(distinct_sample, order), 4)
                for order in (1, 2, 3)
            },
            "self_bleu": round(self_bleu(bleu_sample), 4),
            "top_opening_share": round(openings[0][1], 4) if openings else 0.0,
            "top_openings": [[opening, round(share, 4)] for opening, share in openings],
            "sampled": {
                "openings": len(sample),
                "distinct": len(distinct_sample),
                "self_bleu": len(bleu_sample),
            },
            "kinds": _ranked(self._kinds),
            "categories": _ranked(self._categories),
            "num_categories": len(self._categories),
            "pairs_per_document": {
                f"{count}+" if count == _MOST_PAIRS else str(count): num_documents
                for count, num_documents in sorted(self._pairs_per_document.items())
            },
            "instruction_words": _word_histogram(self._instruction_words),
            "response_words": _word_histogram(self._response_words),
            "grounded_share": _share(self._counts["grounded"], num_pairs),
            "grounding": {
                f"{low / _NUM_SCORE_BINS:.1f}": self._grounding[low]
                for low in range(_NUM_SCORE_BINS + 1)
            },
        }

    def _add_pair(self, index: TextIndex, text_digest: bytes, pair: Pair, words: PairWords) -> None:
        self._kinds[pair.kind] += 1
        self._categories[categorise(pair)] += 1
        self._instruction_words[_word_bin(count_words(words.instruction))] += 1
        self._response_words[_word_bin(count_words(words.response))] += 1
        grounding = assess_grounding(index, pair, words)
        self._counts["grounded"] += is_grounded(grounding)
        # The last bin holds full support alone.
        self._grounding[int(grounding.score * _NUM_SCORE_BINS + 1e-9)] += 1
        key = _digest(pair.instruction, pair.response, prefix=text_digest)
        self._instructions.add(key, pair.instruction)

    def _counters(self) -> list[Counter[Any]]:
        return [
            self._counts,
            self._kinds,
            self._categories,
            self._pairs_per_document,
            self._instruction_words,
            self._response_words,
            self._grounding,
        ]


def is_grounded(grounding: Grounding) -> bool:
    """The strict rule of `grounded_share`: a copied span, or a score of 0.75 or more.

    Stricter than the check that keeps a pair: evidence without content does not count.
    """
    return grounding.evidence == "copied" or grounding.score >= GROUNDED_FROM


def _digest(*parts: str, prefix: bytes = b"") -> bytes:
    digest = xxhash.xxh3_128(prefix)
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    return digest.digest()


def _word_bin(num_words: int) -> int:
    return bisect_right(_WORD_BINS, num_words) - 1


def _word_histogram(counts: Counter[int]) -> dict[str, int]:
    """All bins, empty ones too, named by their bounds: "4-7"."""
    histogram = {}
    for position, low in enumerate(_WORD_BINS):
        high = _WORD_BINS[position + 1] - 1 if position + 1 < len(_WORD_BINS) else None
        name = f"{low}+" if high is None else str(low) if high == low else f"{low}-{high}"
        histogram[name] = counts[position]
    return histogram


def _ranked(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
