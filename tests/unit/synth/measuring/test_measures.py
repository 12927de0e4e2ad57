"""Measures of replies, by hand."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import Pair
from synth.engines.protocol import Generation
from synth.measuring.held_out import HeldOutText
from synth.measuring.measures import measure, read_replies
from synth.measuring.replies import Replies

CANAL = HeldOutText(
    "1",
    "s",
    "The canal was dug between 1817 and 1825 by farmers along its route.",
    (Pair("Who dug the canal?", "farmers"),),
)
BRIDGE = HeldOutText("2", "s", "A stone bridge crosses the river at Orrin.")
WELL = HeldOutText("3", "s", "The well is nine metres deep.", (Pair("How deep is it?", "nine"),))
TEXTS = [CANAL, BRIDGE, WELL]
CANAL_REPLY = (
    "<QUE> Who dug the canal? <ANS> farmers </END>\n\n"
    "<QUE> who dug the CANAL? <ANS> nobody </END>\n\n"
    "<QUE> Who paid for it?\nOptions:\n- a London bank\n- Dutch gold <ANS> a London bank </END>\n\n"
    "<QUE> What was"
)
BRIDGE_REPLY = "<QUE> Who dug the canal? <ANS> stone bridge </END>\n\nno pair </END>"


def replies_of(*written: tuple[str, int] | None, **fields) -> Replies:
    fields = {"num_shots": 3, "seconds": 4.0, **fields}
    return Replies(tuple(one and Generation(*one) for one in written), **fields)


def test_measures_of_three_replies() -> None:
    replies = replies_of((CANAL_REPLY, 64), (BRIDGE_REPLY, 30), None, events={"requests_failed": 1})
    measures = measure(TEXTS, replies, max_new_tokens=64)
    assert (measures.num_texts, measures.num_pairs) == (3, 3)
    assert measures.texts_with_pair == pytest.approx(2 / 3)
    # Four well-formed pieces, one cut off, one without a question mark.
    assert measures.fragments_read == pytest.approx(4 / 6)
    assert measures.fragments_dropped == {
        "duplicate_question": 1,
        "unfinished_pair": 1,
        "no_question_mark": 1,
    }
    assert measures.stopped == pytest.approx(1 / 3)
    assert measures.pairs_per_text == 1.0
    assert measures.unique_in_text == pytest.approx(3 / 4)
    assert measures.unique == pytest.approx(2 / 4)
    assert measures.grounded == pytest.approx(2 / 3)
    # The bridge has no gold pair, about the well nothing was written.
    assert measures.question_f1 == measures.answer_f1 == 0.5
    assert measures.kinds == {"free_form": 2, "multiple_choice": 1}
    assert sum(measures.categories.values()) == 3
    assert (measures.num_kinds, measures.num_categories) == (2, len(measures.categories))
    assert measures.mean_shots == 1.0
    assert (measures.output_tokens, measures.tokens_per_s) == (94, 23.5)
    assert measures.prompts == {"requests_failed": 1}
    assert json.loads(json.dumps(measures.as_json()))["unique"] == 0.5


def test_nothing_written_is_no_division_by_zero() -> None:
    measures = measure([BRIDGE], replies_of(("", 1), seconds=0.0), max_new_tokens=64)
    assert (measures.texts_with_pair, measures.fragments_read, measures.unique) == (0, 0, 0)
    assert (measures.stopped, measures.tokens_per_s) == (1, 0)
    assert measures.question_f1 is measures.answer_f1 is None


def test_pairs_stand_beside_their_texts() -> None:
    found = read_replies(replies_of((BRIDGE_REPLY, 30), None))
    assert [[pair.response for pair in parsed.pairs] for parsed in found] == [["stone bridge"], []]


@given(
    st.lists(
        st.lists(st.sampled_from([CANAL_REPLY, BRIDGE_REPLY, "<QUE> a <ANS>", "</END>"])).map(
            "".join
        ),
        min_size=1,
        max_size=4,
    )
)
def test_shares_are_shares(written: list[str]) -> None:
    measures = measure([CANAL] * len(written), replies_of(*((text, 5) for text in written)), 9)
    for name in ("texts_with_pair", "fragments_read", "unique_in_text", "unique", "grounded"):
        assert 0 <= getattr(measures, name) <= 1
    assert measures.unique <= measures.unique_in_text
    assert sum(measures.kinds.values()) == sum(measures.categories.values()) == measures.num_pairs
