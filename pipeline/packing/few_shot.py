"""Examples of one task data set joined into few-shot sequences, each as long as a row has room.

row of 12 tokens, examples a (5), b (4), c (6), d (2):

    a a a a a b b b b          c would not fit: the next sequence
    c c c c c c d d

Each example keeps its BOS, its EOS and its spans; later ones see those before them, as a chain's
texts do in synthesis.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.contracts import chain_id, stable_share


@dataclass(frozen=True)
class PackedExample:
    """What becomes one segment of a row."""

    id: str
    """Content id."""
    ids: np.ndarray
    """(n,) tokens, marks of the document included."""
    spans: np.ndarray | None
    """(spans, 2) int64 token ranges that are trained on; None: all of it."""
    document_ids: list[str]
    """Documents in it."""
    responses: list[tuple[int, int, str]] | None
    """Token ranges of responses with their pairs' kinds; None: nobody asked."""

    @property
    def num_trained(self) -> int:
        """Tokens that are trained on."""
        return len(self.ids) if self.spans is None else int(np.diff(self.spans, axis=1).sum())


def join_examples(
    examples: Sequence[PackedExample], max_tokens: int
) -> tuple[list[PackedExample], int]:
    """Few-shot sequences of examples in an order of their ids' own.

    Args:
        examples: of one data set.
        max_tokens: of a sequence.

    Returns:
        the sequences, and how many examples were left out because they alone are longer: cut off,
        they would teach pairs about a text that is not there.
    """
    fitting = [example for example in examples if len(example.ids) <= max_tokens]
    fitting.sort(key=lambda example: (stable_share(example.id, "few-shot"), example.id))
    groups, room = list[list[PackedExample]](), 0
    for example in fitting:
        if len(example.ids) > room:
            groups.append([])
            room = max_tokens
        groups[-1].append(example)
        room -= len(example.ids)
    return [_joined(group) for group in groups], len(examples) - len(fitting)


def _joined(group: Sequence[PackedExample]) -> PackedExample:
    starts = np.cumsum([0, *(len(example.ids) for example in group)]).tolist()
    moved = []
    for example, start in zip(group, starts, strict=False):
        assert example.spans is not None, "task data are trained on their pairs alone"
        moved.append(example.spans + start)
    responses = [
        (first + start, end + start, kind)
        for example, start in zip(group, starts, strict=False)
        for first, end, kind in example.responses or ()
    ]
    return PackedExample(
        id=chain_id([example.id for example in group]),
        ids=np.concatenate([example.ids for example in group]),
        spans=np.concatenate(moved),
        document_ids=[name for example in group for name in example.document_ids],
        responses=None if group[0].responses is None else responses,
    )
