"""Figures of a corpus of pairs."""

import json
import pickle
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts import Pair
from synth.quality import collapse
from synth.quality.collapse import CorpusMetrics

TEXT = "The lighthouse was built by the engineer Anna Vell in 1871. It burned whale oil."
PAIRS = [
    Pair("Who built the lighthouse?", "the engineer Anna Vell"),
    Pair("Who built the LIGHTHOUSE", "Anna Vell"),
    Pair("What did it burn?", "Coal and seven tons of peat"),
    Pair("How old is it?", "32", "chain_of_thought", (), "1903 - 1871"),
    Pair("What is the tone of the passage?", "neutral", "multiple_choice", ("neutral", "sad")),
]
WORDS = ("lamp", "oil", "sea", "ship", "keeper", "storm", "tower", "light", "rope", "coal", "reef")
Corpus = list[tuple[str, list[Pair]]]


def metrics_of(corpus: Corpus) -> CorpusMetrics:
    metrics = CorpusMetrics()
    for text, pairs in corpus:
        metrics.add(text, pairs)
    return metrics


def large_corpus(num_documents: int) -> Corpus:
    rng = random.Random(0)
    corpus: Corpus = []
    for number in range(num_documents):
        text = f"{number} " + " ".join(rng.choices(WORDS, k=30))
        asks = rng.choice(["Who", "What", "Why", "When"])
        pairs = [
            Pair(
                f"{asks} {' '.join(rng.choices(WORDS, k=4))}?",
                " ".join(rng.choices(WORDS, k=rng.randint(1, 20))),
            )
            for _ in range(rng.randint(0, 5))
        ]
        corpus.append((text, pairs))
    return corpus


def test_figures_of_a_small_corpus() -> None:
    result = metrics_of([(TEXT, PAIRS), ("Nothing here.", []), (TEXT, PAIRS[:1])]).result()
    assert (result["documents"], result["documents_with_pair"], result["pairs"]) == (3, 2, 6)
    assert result["unique_question_share"] == round(5 / 6, 4)
    assert result["kinds"] == {"free_form": 4, "chain_of_thought": 1, "multiple_choice": 1}
    assert result["categories"] == {"who": 3, "measure": 1, "tone": 1, "what": 1}
    assert result["num_categories"] == 4
    assert result["pairs_per_document"] == {"0": 1, "1": 1, "5": 1}
    # The three "who" pairs are copied; the coal, the derived number and the tone are not.
    assert result["grounded_share"] == 0.5
    assert result["grounding"]["1.0"] == 3
    assert result["grounding"]["0.5"] == 1
    assert sum(result["grounding"].values()) == 6
    assert result["instruction_words"]["4-7"] == 6
    assert result["response_words"] == {
        **dict.fromkeys(("0", "8-15", "16-31", "32-63", "64-127", "128-255", "256+"), 0),
        **{"1": 2, "2-3": 1, "4-7": 3},
    }
    # The document given twice is sampled once.
    assert result["sampled"] == {"openings": 5, "distinct": 5, "self_bleu": 5}
    assert result["top_openings"][0] == ["who built the", 0.4]
    assert result["top_opening_share"] == 0.4
    assert 0 < result["self_bleu"] < 1
    assert result["distinct_1"] < result["distinct_2"] <= result["distinct_3"] <= 1
    assert json.loads(json.dumps(result)) == result


def test_an_empty_corpus_has_figures() -> None:
    result = CorpusMetrics().result()
    assert (result["pairs"], result["grounded_share"], result["self_bleu"]) == (0, 0, 0)
    assert result["top_openings"] == []


def test_figures_do_not_depend_on_order_or_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collapse, "_OPENING_SAMPLE", 150)
    monkeypatch.setattr(collapse, "_DISTINCT_SAMPLE", 100)
    monkeypatch.setattr(collapse, "_SELF_BLEU_SAMPLE", 30)
    corpus = large_corpus(200)
    whole = metrics_of(corpus).result()
    assert whole["sampled"] == {"openings": 150, "distinct": 100, "self_bleu": 30}
    assert whole["pairs"] > 300
    random.Random(1).shuffle(corpus)
    merged = metrics_of(corpus[:20])
    for part in (corpus[20:120], corpus[120:]):
        travelled = pickle.loads(pickle.dumps(metrics_of(part)))
        before = travelled.result()
        merged.merge(travelled)
        assert travelled.result() == before
    assert merged.result() == whole


def test_collapse_shows() -> None:
    varied = metrics_of(large_corpus(150)).result()
    collapsed = metrics_of(
        [
            (text, [Pair("What is the main idea of the passage?", "a lamp")])
            for text, _ in large_corpus(150)
        ]
    ).result()
    assert collapsed["top_opening_share"] == 1 > 0.2 > varied["top_opening_share"]
    assert collapsed["self_bleu"] == 1 > varied["self_bleu"]
    assert collapsed["distinct_2"] < varied["distinct_2"]
    assert collapsed["num_categories"] == 1 < varied["num_categories"]


def test_the_figures_of_a_sample_stay_put_as_the_corpus_grows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collapse, "_OPENING_SAMPLE", 200)
    small, large = (metrics_of(large_corpus(size)).result() for size in (150, 600))
    for figure in ("distinct_2", "self_bleu", "top_opening_share"):
        assert large[figure] == pytest.approx(small[figure], abs=0.1)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(max_size=20),
            st.lists(st.builds(Pair, st.text(max_size=20), st.text(max_size=20)), max_size=3),
        ),
        max_size=4,
    ),
    st.integers(0, 4),
)
def test_any_corpus_merges_to_its_single_pass(corpus: Corpus, cut: int) -> None:
    merged = metrics_of(corpus[:cut])
    merged.merge(metrics_of(corpus[cut:]))
    assert merged.result() == metrics_of(corpus).result()
