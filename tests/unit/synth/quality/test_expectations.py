"""What a task lets its pairs be judged by, from the style file to the filter and back."""

from synth.quality.expectations import Expectations, expectations_of
from synth.styles.library import load_library
from synth.tasks import Task


def test_expectations_are_kept_as_provenance() -> None:
    expected = Expectations(is_linked=True, min_question_support=0.5, min_support=0.35)
    assert expectations_of(expected.provenance()) == expected
    assert expectations_of({"style": "faq"}) == Expectations()
    assert Expectations(frozenset("x")).provenance() == {}


def test_every_style_hands_on_what_its_file_says() -> None:
    library = load_library("", {})
    for name, style in library.styles.items():
        provenance = Task(name, style).provenance()
        expected = expectations_of(provenance)
        assert expected.is_linked == style.is_linked
        assert expected.min_support == style.min_support
        assert expected.min_question_support == style.min_question_support
    found = [
        expectations_of(Task(name, style).provenance()) for name, style in library.styles.items()
    ]
    assert any(each.is_linked for each in found)
    assert any(each.min_support for each in found)
    assert any(each.min_question_support for each in found)
