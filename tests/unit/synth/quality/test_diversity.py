"""Distinct n-grams, openings, self-BLEU."""

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.quality.diversity import distinct_share, opening_shares, self_bleu

TEXTS = st.lists(st.lists(st.sampled_from("abcd"), max_size=8), max_size=7)


def bleu_by_definition(texts: list[list[str]]) -> float:
    """The formula of `self_bleu`, one text against all others, without any shortcut."""
    texts = [text for text in texts if text]
    scores = []
    for i, text in enumerate(texts):
        references = texts[:i] + texts[i + 1 :]
        logs = []
        for n in range(1, min(4, len(text)) + 1):
            grams = Counter(tuple(text[j : j + n]) for j in range(len(text) - n + 1))
            clipped = 0
            for gram, count in grams.items():
                most = max(
                    sum(tuple(other[j : j + n]) == gram for j in range(len(other) - n + 1))
                    for other in references
                )
                clipped += min(count, most)
            logs.append(math.log((clipped or 0.1) / grams.total()))
        nearest = min((abs(len(other) - len(text)), len(other)) for other in references)[1]
        brevity = min(1.0, math.exp(1 - nearest / len(text)))
        scores.append(brevity * math.exp(sum(logs) / len(logs)))
    return sum(scores) / len(scores)


@given(TEXTS)
def test_self_bleu_is_its_formula(texts: list[list[str]]) -> None:
    if sum(map(bool, texts)) < 2:
        assert self_bleu(texts) == 0
    else:
        assert self_bleu(texts) == pytest.approx(bleu_by_definition(texts))


def test_self_bleu_of_copies_is_one_and_falls_with_variety() -> None:
    rng = random.Random(0)
    same = [list("abcdef")] * 5
    frames = [[*"what is the", rng.choice("xyz"), str(i)] for i in range(20)]
    varied = [[str(rng.random()) for _ in range(6)] for _ in range(20)]
    assert self_bleu(same) == 1
    assert 1 > self_bleu(frames) > 0.3 > self_bleu(varied)


def test_distinct_counts_over_the_whole_set() -> None:
    texts = [["what", "is", "it"], ["what", "is", "that"]]
    assert distinct_share(texts, 1) == 4 / 6
    assert distinct_share(texts, 2) == 3 / 4
    assert distinct_share(texts, 4) == 0


def test_openings_are_ranked_with_their_shares() -> None:
    texts = [["what", "is", "the", str(i)] for i in range(6)] + [["why"], ["a", "b"], [], ["why"]]
    assert opening_shares(texts, 3, 3) == [("what is the", 0.6), ("why", 0.2), ("", 0.1)]
    assert opening_shares([], 3, 3) == []
