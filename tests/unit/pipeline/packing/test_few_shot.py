"""Examples of a task data set joined into few-shot sequences."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.packing.few_shot import PackedExample, join_examples


def example(name: str, length: int, trained: int) -> PackedExample:
    """An example whose last `trained` tokens are trained on; its tokens tell it from others."""
    ids = np.arange(length) + 1000 * (sum(name.encode()) % 50)
    spans = np.array([[length - trained, length]])
    return PackedExample(name, ids, spans, [name], [(length - trained, length, "free_form")])


def test_sequences_hold_whole_examples_with_their_spans_moved() -> None:
    members = {
        name: example(name, length, 2) for name, length in zip("abcd", (5, 4, 6, 2), strict=True)
    }
    joined, dropped = join_examples(list(members.values()), 12)
    assert dropped == 0
    assert sorted(name for each in joined for name in each.document_ids) == list("abcd")
    assert len(joined) < 4, "nothing was joined"
    for each in joined:
        assert len(each.ids) <= 12
        at = 0
        for number, name in enumerate(each.document_ids):
            member = members[name]
            end = at + len(member.ids)
            assert each.ids[at:end].tolist() == member.ids.tolist()
            assert each.spans is not None
            assert each.spans[number].tolist() == [end - 2, end]
            assert each.responses is not None
            assert each.responses[number] == (end - 2, end, "free_form")
            at = end
        assert at == len(each.ids)
        assert each.num_trained == 2 * len(each.document_ids)


def test_an_example_longer_than_a_row_is_left_out_and_counted() -> None:
    joined, dropped = join_examples([example("a", 13, 1), example("b", 12, 1)], 12)
    assert dropped == 1
    assert [each.document_ids for each in joined] == [["b"]]


@given(st.lists(st.integers(2, 20), max_size=30))
def test_every_example_comes_once_whatever_their_order(lengths: list[int]) -> None:
    examples = [example(str(number), length, 1) for number, length in enumerate(lengths)]
    joined, dropped = join_examples(examples, 16)
    again, _ = join_examples(examples[::-1], 16)
    assert [each.document_ids for each in joined] == [each.document_ids for each in again]
    names = [name for each in joined for name in each.document_ids]
    assert sorted(names) == sorted(str(n) for n, length in enumerate(lengths) if length <= 16)
    assert dropped == sum(length > 16 for length in lengths)
    for first, second in itertools.pairwise(joined):
        assert len(first.ids) + len(examples[int(second.document_ids[0])].ids) > 16
