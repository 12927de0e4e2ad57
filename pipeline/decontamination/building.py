"""Evaluation sets into an `EvalIndex`: n-grams of every record, without fixed wording and numbers.

records ──words──▶ n-grams of each text ──sort──▶ n-gram, its records ──not common──▶ EvalIndex
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from pipeline.decontamination.config import DecontaminationConfig
from pipeline.decontamination.index import EvalIndex, EvalSetSummary
from pipeline.decontamination.ngrams import (
    HashArray,
    IntArray,
    gram_hashes,
    hash_words,
    is_plain_word,
    split_words,
)
from pipeline.errors import InputError

_BATCH_WORDS = 1 << 16
_MAX_BATCH_TEXTS = 1 << 12
_COMMON_MIN_RECORDS = 10
# Fewer words of content than this, and an n-gram is a piece of a table: "1 2 3 4 5 6 7 8 9 10 11".
_MIN_PLAIN_WORDS = 4


def load_eval_index(config: DecontaminationConfig) -> EvalIndex:
    """Read all evaluation sets and index their n-grams; the same files give the same index.

    Raises:
        InputError: a file that is not there or cannot be read, a field that no record has, or a
            set in which nothing can be looked for.
    """
    # Imported here: most runs have no evaluation set, and need neither YAML nor Jinja.
    from pipeline.decontamination.eval_sets import read_eval_texts

    grams = []
    for name in sorted(config.sets):
        found = _index_set(name, read_eval_texts(name, config.sets[name]), config)
        if not found.summary.num_ngrams:
            raise InputError(
                f"decontamination.sets.{name}: none of its {found.summary.num_records} records "
                f"has a text of min_words ({config.min_words}) words to look for; name its text "
                f"in `fields`, lower `min_words`, or leave the set out"
            )
        grams.append(found)
    first_records = [0, *np.cumsum([each.summary.num_records for each in grams]).tolist()][:-1]
    hashes = np.concatenate([np.zeros(0, np.uint64), *(each.hashes for each in grams)])
    records = np.concatenate(
        [
            np.zeros(0, np.int64),
            *(each.records + first for each, first in zip(grams, first_records, strict=False)),
        ]
    )
    order = np.lexsort((records, hashes))
    return EvalIndex(
        hashes=hashes[order],
        records=records[order].astype(np.uint32),
        lengths=tuple(sorted(set(chain.from_iterable(each.lengths for each in grams)))),
        ngram=config.ngram,
        min_overlap=config.min_overlap,
        summaries=tuple(each.summary for each in grams),
        first_records=tuple(first_records),
    )


@dataclass(frozen=True)
class _SetGrams:
    """Different n-grams of one set, each with its first record, counted from 1."""

    hashes: HashArray
    records: IntArray
    lengths: set[int]
    summary: EvalSetSummary


def _index_set(name: str, records: Iterable[list[str]], config: DecontaminationConfig) -> _SetGrams:
    hashes, numbers, lengths, num_records = [], [], set[int](), 0
    for texts, text_records in _batches(records):
        num_records = text_records[-1]
        batch = _text_grams(texts, config)
        hashes.append(batch.hashes)
        numbers.append(np.array(text_records, np.int64)[batch.texts])
        lengths.update(np.unique(batch.lengths).tolist())
    every_hash = np.concatenate([np.zeros(0, np.uint64), *hashes])
    every_record = np.concatenate([np.zeros(0, np.int64), *numbers])
    order = np.lexsort((every_record, every_hash))
    every_hash, every_record = every_hash[order], every_record[order]
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = every_hash[1:] != every_hash[:-1]
    is_new_record = is_first.copy()
    is_new_record[1:] |= every_record[1:] != every_record[:-1]
    starts = np.flatnonzero(is_first)
    records_of = np.add.reduceat(is_new_record, starts, dtype=np.int64) if len(starts) else starts
    most = max(_COMMON_MIN_RECORDS, config.common_share * num_records)
    is_common = records_of > most
    summary = EvalSetSummary(
        name=name,
        num_records=num_records,
        num_ignored=num_records - len(np.unique(every_record)),
        num_ngrams=int((~is_common).sum()),
        num_common=int(is_common.sum()),
    )
    kept = starts[~is_common]
    return _SetGrams(every_hash[kept], every_record[kept], lengths, summary)


def _batches(records: Iterable[list[str]]) -> Iterator[tuple[list[list[str]], list[int]]]:
    """Texts as words, many at a time, and the number of each text's record.

    A record without texts gives one text without words, so that it is counted.
    """
    texts: list[list[str]] = []
    numbers: list[int] = []
    num_words = 0
    for number, record in enumerate(records, start=1):
        for text in record or [""]:
            texts.append(split_words(text))
            numbers.append(number)
            num_words += len(texts[-1])
        if num_words >= _BATCH_WORDS or len(texts) >= _MAX_BATCH_TEXTS:
            yield texts, numbers
            texts, numbers, num_words = [], [], 0
    if texts:
        yield texts, numbers


@dataclass(frozen=True)
class _TextGrams:
    """Hash, number of the text and length in words of each n-gram of a batch."""

    hashes: HashArray
    texts: IntArray
    lengths: IntArray


def _text_grams(texts: list[list[str]], config: DecontaminationConfig) -> _TextGrams:
    words = list(chain.from_iterable(texts))
    sizes = np.array([len(text) for text in texts], np.int64)
    whole = np.where(sizes >= config.min_words, sizes, 0)
    length_of = np.where(sizes >= config.ngram, config.ngram, whole)
    num_grams = np.where(length_of > 0, sizes - length_of + 1, 0)
    numbers = np.repeat(np.arange(len(texts)), num_grams)
    first_gram, first_word = np.cumsum(num_grams) - num_grams, np.cumsum(sizes) - sizes
    starts = np.arange(len(numbers)) - first_gram[numbers] + first_word[numbers]
    lengths = length_of[numbers]
    num_plain = np.zeros(len(words) + 1, np.int64)
    np.cumsum([is_plain_word(word) for word in words], out=num_plain[1:])
    plain = num_plain[starts + lengths] - num_plain[starts]
    has_content = plain >= np.minimum(lengths, _MIN_PLAIN_WORDS)
    starts, lengths, numbers = starts[has_content], lengths[has_content], numbers[has_content]
    return _TextGrams(gram_hashes(hash_words(words), starts, lengths), numbers, lengths)
