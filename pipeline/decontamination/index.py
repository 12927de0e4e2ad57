"""The n-grams of all evaluation sets in one sorted array, and the look-up of a text in it.

    mmlu.jsonl, tasks/sciq.yaml ──words──▶ n-grams ──sort──▶ EvalIndex
                                                                │
    document ──words──▶ n-grams ──filter──▶ search ─────────────┘──▶ Contamination

An index is plain arrays: 12 bytes an n-gram and 8 to 16 more for the filter, so at most 28 MB a
million n-grams. It is built once, in the driver; Ray passes it to workers through shared memory.
"""

import bisect
import hashlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.decontamination.ngrams import (
    HashArray,
    hash_words,
    window_hashes,
    word_blocks,
)

_INDEX_VERSION = 2


@dataclass(frozen=True, slots=True)
class Contamination:
    """What a text shares with an evaluation set: `ngram`, as words, of record `record` from 1."""

    eval_set: str
    record: int
    ngram: str


@dataclass(frozen=True, slots=True)
class EvalSetSummary:
    """What became of one evaluation set.

    `num_ignored` records have no text that could be looked for (too few words, or only numbers);
    `num_common` n-grams are the set's fixed wording.
    """

    name: str
    num_records: int
    num_ignored: int
    num_ngrams: int
    num_common: int


@dataclass(frozen=True, eq=False)
class EvalIndex:
    """N-grams of evaluation sets; made by `load_eval_index`.

    `hashes` are sorted, and stand there once for each set that has them; `records[k]` is the first
    record of the set with n-gram k, counted through all sets, of which set s begins after
    `first_records[s]`. `lengths` are the n that occur, in words.
    """

    hashes: HashArray
    records: npt.NDArray[np.uint32]
    lengths: tuple[int, ...]
    ngram: int
    min_overlap: int
    summaries: tuple[EvalSetSummary, ...]
    first_records: tuple[int, ...]
    _filter: npt.NDArray[np.bool_] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # One look into this table spares most words the search, which is ten times as slow.
        table = np.zeros(1 << self._filter_bits(), np.bool_)
        table[self.hashes >> self._filter_shift()] = True
        object.__setattr__(self, "_filter", table)

    @property
    def is_empty(self) -> bool:
        """Whether there is no evaluation set, so that nothing is contaminated."""
        return not self.summaries

    def fingerprint(self) -> str:
        """blake2b-128 of everything that decides what `find` answers, 32 hex digits."""
        digest = hashlib.blake2b(digest_size=16)
        shape = (self.lengths, self.ngram, self.min_overlap, self.first_records)
        names = [summary.name for summary in self.summaries]
        digest.update(repr((_INDEX_VERSION, names, shape)).encode())
        digest.update(self.hashes.astype("<u8").tobytes())
        digest.update(self.records.astype("<u4").tobytes())
        return digest.hexdigest()

    def describe(self) -> str:
        """What is looked for, one line a set."""
        return "\n".join(
            f"evaluation set {each.name}: {each.num_records:,} records ({each.num_ignored:,} too "
            f"short to find), {each.num_ngrams:,} n-grams ({each.num_common:,} too common left out)"
            for each in self.summaries
        )

    def find(self, text: str) -> Contamination | None:
        """The first overlap of a text with an evaluation set that is enough to drop it."""
        if self.is_empty:
            return None
        firsts: dict[int, Contamination] = {}
        found: dict[int, set[int]] = {}
        carried: list[str] = []
        for block in word_blocks(text):
            words = carried + block
            for start, length, entry in self._matches(words):
                record = int(self.records[entry])
                number = bisect.bisect_left(self.first_records, record) - 1
                name, first = self.summaries[number].name, self.first_records[number]
                ngram = " ".join(words[start : start + length])
                overlap = Contamination(name, record - first, ngram)
                if length < self.ngram:
                    return overlap
                firsts.setdefault(number, overlap)
                found.setdefault(number, set()).add(entry)
                if len(found[number]) >= self.min_overlap:
                    return firsts[number]
            carried = words[1 - self.ngram :]
        return None

    def _matches(self, words: list[str]) -> list[tuple[int, int, int]]:
        """Start, length and entry of every n-gram of `words` that is in the index, in order."""
        windows = window_hashes(hash_words(words), self.lengths)
        hashes = np.concatenate(windows)
        maybe = np.flatnonzero(self._filter[hashes >> self._filter_shift()])
        firsts = np.searchsorted(self.hashes, hashes[maybe])
        np.minimum(firsts, len(self.hashes) - 1, out=firsts)
        is_found = self.hashes[firsts] == hashes[maybe]
        if not is_found.any():
            return []
        maybe, firsts = maybe[is_found], firsts[is_found]
        counts = np.searchsorted(self.hashes, hashes[maybe], side="right") - firsts
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        entries = np.repeat(firsts, counts) + within  # one for each set
        sizes = [len(window) for window in windows]
        places = np.repeat(maybe, counts)
        starts = np.concatenate([np.arange(size) for size in sizes])[places]
        lengths = np.repeat(self.lengths, sizes)[places]
        return sorted(zip(starts.tolist(), lengths.tolist(), entries.tolist(), strict=True))

    def _filter_bits(self) -> int:
        return 3 + max(1, len(self.hashes)).bit_length()

    def _filter_shift(self) -> np.uint64:
        return np.uint64(64 - self._filter_bits())
