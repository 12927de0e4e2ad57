"""Data sets that are left out."""

import pytest

from synth.task_data.leaving import LeaveOut


@pytest.mark.parametrize(
    ("pattern", "name", "is_covered"),
    [
        ("pubmedqa", "PubMed_QA", True),
        ("Conv-Fin_QA", "convfinqa", True),
        ("pubmedqa", "task846_pubmedqa_classification", False),
        ("*pubmedqa*", "task846_pubmedqa_classification", True),
        ("race?", "race_c", True),
        ("race?", "race", False),
        ("_", "-", True),
        ("_", "a", False),
    ],
)
def test_names_and_patterns(pattern: str, name: str, is_covered: bool) -> None:
    assert LeaveOut([pattern]).covers([name]) is is_covered


def test_any_of_the_names_is_enough_and_idle_patterns_are_known() -> None:
    leave_out = LeaveOut(["squad", "race", "b*"])
    assert leave_out.unmatched() == ["b*", "race", "squad"]
    assert not leave_out.covers(["coqa", "cnn"])
    assert leave_out.covers(["coqa", "race"])
    assert leave_out.unmatched() == ["b*", "squad"]
