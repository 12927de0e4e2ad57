"""Where sentences end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.sentences import SENTENCE_END, sentences_around

TEXT = 'It rained. "Who came?" Nobody, at 3.5 knots! The end'


@pytest.mark.parametrize(
    ("answer", "alone", "with_one_before"),
    [
        ("rained", "It rained.", "It rained."),
        ("Who", '"Who came?"', 'It rained. "Who came?"'),
        ("3.5", "Nobody, at 3.5 knots!", '"Who came?" Nobody, at 3.5 knots!'),
        ("end", "The end", "Nobody, at 3.5 knots! The end"),
    ],
)
def test_the_sentence_of_an_answer(answer: str, alone: str, with_one_before: str) -> None:
    start = TEXT.index(answer)
    assert sentences_around(TEXT, start, start + len(answer)) == alone
    assert sentences_around(TEXT, start, start + len(answer), num_before=1) == with_one_before


def test_other_scripts_and_lines_end_sentences_too() -> None:
    text = "\u5899\u9ad8\u4e09\u7c73\u3002\u8c01\u5728\u90a3\u91cc\uff1f\u300d\u4ed6\nlast"
    ends = [text[: match.end()][-1] for match in SENTENCE_END.finditer(text)]
    assert ends == ["\u3002", "\u300d", "\n"]


@given(st.text(), st.integers(0, 50), st.integers(0, 50), st.integers(0, 3))
def test_what_is_asked_for_is_inside(text: str, start: int, length: int, before: int) -> None:
    start, end = min(start, len(text)), min(start + length, len(text))
    assert text[start:end].strip() in sentences_around(text, start, end, before)
