"""Questions about what a passage names."""

import random

from synth.synthesizers.named_things import ask_about_names, names_in

TEXT = (
    "In the year 1819 the debt grew, said the Secretary of the Treasury to Congress.\n\n"
    "Nobody had read os.path or ConfigParser with more care than the men of Kentucky did. Later,\n"
    "a letter came from Maine"
)
OTHERS = ["Nevada", "Texas", "Congress", "Ohio", "Iowa", "Utah", "Idaho"]


def test_names_years_and_identifiers_are_found_once_each() -> None:
    assert names_in(TEXT + ", where Kentucky was read of in 1819") == [
        "1819",
        "Secretary of the Treasury",
        "Congress",
        "os.path",
        "ConfigParser",
        "Kentucky",
        "Maine",
    ]


def test_a_question_is_answered_by_the_sentence_that_holds_the_name() -> None:
    pairs = [
        pair for seed in range(20) for pair in ask_about_names(TEXT, OTHERS, random.Random(seed))
    ]
    free = [pair for pair in pairs if pair.kind == "free_form"]
    assert {pair.response for pair in free} == {
        "In the year 1819 the debt grew, said the Secretary of the Treasury to Congress.",
        "Nobody had read os.path or ConfigParser with more care than the men of Kentucky did.",
    }
    for pair in free:
        asked = [name for name in names_in(TEXT) if name in pair.instruction]
        assert len(asked) == 1
        assert asked[0] in pair.response
    assert not any("Maine" in pair.instruction for pair in free), "its sentence does not end"


def test_one_option_alone_stands_in_the_text() -> None:
    pairs = [
        pair for seed in range(20) for pair in ask_about_names(TEXT, OTHERS, random.Random(seed))
    ]
    choices = [pair for pair in pairs if pair.kind == "multiple_choice"]
    assert len({pair.options.index(pair.response) for pair in choices}) > 1
    for pair in choices:
        assert [option for option in pair.options if option in TEXT] == [pair.response]


def test_a_choice_is_asked_for_once_a_text_at_most() -> None:
    """Its question is the same whatever the options; twice on a text would be a repetition."""
    kinds = [
        [pair.kind for pair in ask_about_names(TEXT, OTHERS, random.Random(seed))]
        for seed in range(50)
    ]
    assert {each.count("multiple_choice") for each in kinds} == {0, 1}


def test_the_same_stream_asks_the_same() -> None:
    first, again = (list(ask_about_names(TEXT, OTHERS, random.Random(4))) for _ in range(2))
    assert first == again
