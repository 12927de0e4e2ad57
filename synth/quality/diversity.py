"""How alike are the texts of a set: distinct n-grams, self-BLEU, openings.

All three depend on the size of the set, so compare sets of one size only.
"""

import math
from collections import Counter
from collections.abc import Sequence

_MAX_ORDER = 4
_SMOOTHING = 0.1

Words = Sequence[str]


def distinct_share(texts: Sequence[Words], order: int) -> float:
    """Distinct n-grams over all n-grams of a set, 0..1 (Li et al. 2016); 0 without n-grams."""
    counts = Counter(ngram for text in texts for ngram in _ngrams(text, order))
    total = counts.total()
    return len(counts) / total if total else 0.0


def opening_shares(texts: Sequence[Words], num_words: int, num_top: int) -> list[tuple[str, float]]:
    """The commonest first words of a set with their shares of it, commonest first.

    A text of fewer words opens with all it has. Ties stand in alphabetical order.
    """
    counts = Counter(" ".join(text[:num_words]) for text in texts)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(opening, count / len(texts)) for opening, count in ranked[:num_top]]


def self_bleu(texts: Sequence[Words]) -> float:
    """Mean BLEU-4 of each text against all others, 0..1 (Zhu et al. 2018, Texygen).

    With c_n the text's n-grams also found in a reference, each clipped at its largest count in
    any one reference, and t_n the number of its n-grams, for n up to 4 or the text's length:

        BLEU = BP * (prod_n p_n) ^ (1 / N),  p_n = c_n / t_n, or 0.1 / t_n where c_n is 0
        BP   = min(1, exp(1 - r / c)),       r the reference length nearest to the text's c

    The smoothing is method 1 of Chen and Cherry 2014. Empty texts are left out; fewer than two
    texts give 0.
    """
    texts = [text for text in texts if text]
    if len(texts) < 2:
        return 0.0
    lengths = Counter(map(len, texts))
    log_precisions = [[0.0, 0.0] for _ in texts]  # sum over orders, number of orders
    for order in range(1, _MAX_ORDER + 1):
        counts = [Counter(_ngrams(text, order)) for text in texts]
        largest = _two_largest(counts)
        for position, own in enumerate(counts):
            total = own.total()
            if not total:
                continue
            clipped = 0
            for ngram, count in own.items():
                owner, first, second = largest[ngram]
                clipped += min(count, second if owner == position else first)
            log_precisions[position][0] += math.log((clipped or _SMOOTHING) / total)
            log_precisions[position][1] += 1
    scores = [
        math.exp(sum_of_logs / num_orders + _log_brevity(len(text), lengths))
        for text, (sum_of_logs, num_orders) in zip(texts, log_precisions, strict=True)
    ]
    return sum(scores) / len(scores)


def _two_largest(counts: Sequence[Counter[tuple[str, ...]]]) -> dict[tuple[str, ...], list[int]]:
    """Of each n-gram: which text has it most often, how often, and the most of any other text.

    So "the largest count in any text but this one" is one look-up, not a pass over all texts.
    """
    largest: dict[tuple[str, ...], list[int]] = {}
    for position, own in enumerate(counts):
        for ngram, count in own.items():
            entry = largest.setdefault(ngram, [position, 0, 0])
            if count > entry[1]:
                entry[0], entry[1], entry[2] = position, count, entry[1]
            elif count > entry[2]:
                entry[2] = count
    return largest


def _log_brevity(length: int, lengths: Counter[int]) -> float:
    """Logarithm of the brevity penalty against all texts but one of this length."""
    others = (other for other, count in lengths.items() if other != length or count > 1)
    nearest = min(others, key=lambda other: (abs(other - length), other))
    return min(0.0, 1.0 - nearest / length)


def _ngrams(text: Words, order: int) -> list[tuple[str, ...]]:
    return list(zip(*(text[offset:] for offset in range(order)), strict=False))
