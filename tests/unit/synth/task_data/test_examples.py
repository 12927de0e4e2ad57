"""Parts of examples: texts of any type, names of folders, the four kinds of pairs."""

import pytest

from synth.task_data.examples import BadItem, TaskExample, folder_name, make_example, text_of

FOUR_KINDS = [
    ("Who?", "Ann"),
    ("Which?\nOptions:\n- red\n- blue", "blue"),
    ("How many?\nLet's think step by step.", "Two and two.\nTherefore, the answer is 4"),
    (
        "Which?\nOptions:\n- 3\n- 4\nLet's think step by step.",
        "Two and two.\nTherefore, the answer is 4",
    ),
]


def example(context: object, *asked: object, dataset: str = "d") -> TaskExample:
    made = make_example(dataset, context, asked)
    assert isinstance(made, TaskExample)
    return made


def test_four_kinds_of_pairs() -> None:
    pairs = example("Text.", *FOUR_KINDS).pairs
    assert [(pair.kind, pair.options, pair.reasoning, pair.response) for pair in pairs] == [
        ("free_form", (), "", "Ann"),
        ("multiple_choice", ("red", "blue"), "", "blue"),
        ("chain_of_thought", (), "Two and two.", "4"),
        ("multiple_choice_cot", ("3", "4"), "Two and two.", "4"),
    ]


def test_bad_pairs_are_dropped_with_their_reasons() -> None:
    made = example(
        "Text.",
        ("Who?", "Ann"),
        ("WHO?", "Bob"),
        (None, "Ann"),
        ({"text": "Who?"}, "Ann"),
        ("When?", []),
        ("Which?\nOptions:\n- a", "b"),
        "unanswerable",
    )
    assert [pair.response for pair in made.pairs] == ["Ann"]
    assert dict(made.dropped_pairs) == {
        "duplicate_question": 1,
        "missing_question": 1,
        "malformed_question": 1,
        "empty_answer": 1,
        "answer_not_among_options": 1,
        "unanswerable": 1,
    }


@pytest.mark.parametrize(
    ("context", "reason"),
    [
        (None, "missing_context"),
        (7, "malformed_context"),
        (["a", "b"], "malformed_context"),
        (" \n", "empty_context"),
        ("a\0b", "nul_byte"),
        ("a\ud800b", "not_unicode"),
    ],
)
def test_contexts_that_are_none(context: object, reason: str) -> None:
    made = make_example("d", context, FOUR_KINDS)
    assert isinstance(made, BadItem)
    assert made.reason == reason
    made.excerpt.encode()


def test_texts_of_other_types() -> None:
    assert text_of(42) == "42"
    assert text_of(2.5) == "2.5"
    assert text_of(["", "  first ", "second"]) == "first"
    assert text_of(" a\r\nb ") == "a\nb"
    assert [text_of(value) for value in (None, True, {}, [None], [])] == [None] * 4 + [""]


def test_names_become_names_of_folders() -> None:
    assert folder_name("Wiki Table/Questions (v2)") == "Wiki_Table_Questions_v2"
    assert folder_name("../x") == "x"
    assert folder_name("dropped") == "dropped_"
    assert len(folder_name("\u00e9" * 300).encode()) == 200
    assert make_example("//", "Text.", FOUR_KINDS) == BadItem("malformed_dataset_name", "//")


@pytest.mark.parametrize("mark", ["<QUE>", "<ANS>", "</END>", "<CON>", "</CON>"])
def test_marks_of_the_wire_format_cannot_be_taught(mark: str) -> None:
    made = example(
        "Text.", ("Who?", "Ann"), (f"What is {mark}?", "a mark"), ("Where?", f"at {mark}")
    )
    assert [pair.response for pair in made.pairs] == ["Ann"]
    assert made.dropped_pairs == {"holds_a_mark_of_the_wire_format": 2}
    bad = make_example("d", f"Text {mark}.", [("Who?", "Ann")])
    assert isinstance(bad, BadItem)
    assert bad.reason == "holds_a_mark_of_the_wire_format"
