"""Words, stems, units and numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import Pair
from synth.quality.numbers import number_mentions, numbers_of_text, value_of_word
from synth.quality.text_index import TextIndex
from synth.quality.words import (
    PairWords,
    content_units,
    count_words,
    fold,
    split_words,
    stem,
    topic_units,
)


def numbers_in(text: str) -> frozenset[str]:
    return numbers_of_text(fold(text), split_words(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Anna's 3,500 bridges!", ["anna", "s", "3,500", "bridges"]),
        ("L\u2019Élysée, ouvert", ["l", "élysée", "ouvert"]),
        ("東京は大きい", ["東", "京", "は", "大", "き", "い"]),
        ("Das 5kg-Paket", ["das", "5kg", "paket"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("\uff21\uff22\uff23 \uff11\uff12", ["abc", "12"]),
        ("GPT在2023年", ["gpt", "在", "2023", "年"]),
        ("...", []),
    ],
)
def test_words_of_many_scripts(text: str, words: list[str]) -> None:
    # "2023年": a number before an unspaced character is a number and no part of a word
    assert split_words(text) == words


def test_two_unspaced_characters_count_as_one_word() -> None:
    assert count_words(split_words("the lighthouse at Cape Orrin")) == 5
    assert count_words(split_words("谁建造了这座灯塔")) == 4
    assert count_words(split_words("iPhone 手机")) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("builders", "building"),
        ("cities", "city"),
        ("studied", "studies"),
        ("running", "runs"),
        ("visitors", "visit"),
        ("hauses", "haus"),
        ("kirchen", "kirche"),
        ("москвы", "москва"),
    ],
)
def test_endings_do_not_matter(one: str, other: str) -> None:
    assert stem(one) == stem(other)


@pytest.mark.parametrize(("one", "other"), [("oil", "oak"), ("1871", "1878"), ("bridge", "tower")])
def test_different_words_keep_different_stems(one: str, other: str) -> None:
    assert stem(one) != stem(other)


def test_content_units_leave_out_grammar_and_talk_about_the_task() -> None:
    assert content_units(split_words("What does the passage say about whale oil?")) == [
        *(stem("whale"), stem("oil"))
    ]
    assert content_units(split_words("What is the sentiment of the text?")) == []
    assert content_units(split_words("東京は大きい")) == ["東京", "京大"]


def test_topic_units_keep_what_tells_questions_apart() -> None:
    before, after = (
        topic_units(split_words(f"What happened {word} the war?")) for word in ("before", "after")
    )
    assert before != after
    assert topic_units(split_words("Who left?")) != topic_units(split_words("When did it leave?"))


@pytest.mark.parametrize(
    ("text", "readings"),
    [
        ("1,234 people", {"1234", "1.234"}),
        ("1.234 Menschen", {"1234", "1.234"}),
        ("12 345 habitants", {"12345", "12", "345"}),
        ("1\u202f234\u202f567 francs", {"1234567", "1", "234", "567"}),
        ("3.50 euros", {"3.5"}),
        ("3,5 Liter", {"3.5"}),
        ("$1,234.56", {"1234.56"}),
        ("5.2 million", {"5.2", "5200000"}),
        ("3 Milliarden", {"3", "3000000000"}),
        ("on 12.05.2021 at 10:30", {"12", "5", "2021", "10", "30"}),
        ("2021-03-05", {"2021", "3", "5"}),
        ("twelve men, zwölf Männer, the third", {"12", "3"}),
        ("twenty-five years", {"25", "5"}),
        ("7万", {"7", "70000"}),
        ("\u0663\u0664", {"34"}),
        ("in the 1990s", {"1990"}),
        ("no numbers", set()),
    ],
)
def test_readings_of_numbers(text: str, readings: set[str]) -> None:
    assert numbers_in(text) == readings


def test_thousands_are_no_small_numbers() -> None:
    assert "2" not in numbers_in("2,000 visitors")


def test_list_markers_are_no_numbers() -> None:
    assert number_mentions(fold("1. Wash\n2. Boil 7 eggs\n3) Eat")) == [frozenset({"7"})]
    assert number_mentions(fold("It has 12. It grew.")) == [frozenset({"12"})]


def test_numbers_too_long_for_int_are_read() -> None:
    assert numbers_in("9" * 10_000) == {"9" * 10_000}
    assert "5" in numbers_in("5 million " + "1" * 10_000 + " billion")


def test_values_of_words() -> None:
    assert [value_of_word(word) for word in ("twelve", "neunzig", "ninety", "deux", "oil")] == [
        *("12", "90", "90", "2", "")
    ]


def test_an_index_finds_copies_at_word_borders_only() -> None:
    index = TextIndex("The Light-House burned whale\noil. 東京は大きい。")
    assert index.copies(split_words("burned WHALE oil"))
    assert index.copies(split_words("light house"))
    assert index.copies(split_words("京は大"))
    assert not index.copies(split_words("urned whale"))
    assert not index.copies(split_words("oil whale"))
    assert not index.copies([])


def test_support_is_the_share_of_content() -> None:
    index = TextIndex("The keeper burned whale oil in 1871. Twelve men lived there. 東京タワー")
    assert index.support(split_words("keepers burn oil")) == 1
    assert index.support(split_words("keepers burn the tower")) == pytest.approx(2 / 3)
    assert index.support(split_words("12 men")) == 1
    assert index.support(split_words("who is it?")) is None
    assert index.support(split_words("東京")) == 1
    assert index.support(split_words("京東")) == 0.5
    assert index.support(split_words("大阪")) == 0


@given(st.text())
def test_any_string_is_read(text: str) -> None:
    words = split_words(text)
    assert split_words(" ".join(words)) == words or not text.isascii()
    index = TextIndex(text)
    assert index.support(words) in (None, 1.0) or 0.9 <= (index.support(words) or 0) <= 1
    assert index.copies(words) == bool(words)
    assert all(mention & index.numbers for mention in number_mentions(fold(text)))
    assert count_words(words) <= len(words) + 1
    PairWords(Pair(text, text)).instruction  # noqa: B018  (must not raise)
