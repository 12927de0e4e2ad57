"""How near written pairs come to a data set's own.

For each gold pair, the written pair of the same text with the largest token F1 of question and
answer together is its match (of several, the one with the larger F1 of both apart); one written
pair may match several gold ones. Then, of each gold pair and its match:

    question_f1   token F1 of the two questions
    answer_f1     token F1 of the two answers

Both are 0 where nothing was written. A text counts by the mean of its gold pairs. Token F1 is that
of SQuAD (Rajpurkar et al. 2016; `synth.quality.agreement.token_f1`): bags of words, without case,
punctuation and articles. Options and reasoning play no part.

This is a recall: it tells how much of what the data set asks was asked, in similar words. A good
question that the data set does not have costs nothing, and more pairs can only help, so read it
beside the number of pairs and the share of grounded ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.contracts import Pair
from synth.quality.agreement import token_f1


@dataclass(frozen=True)
class GoldMatch:
    """Token F1, 0..1, of gold pairs and their matches."""

    question_f1: float
    answer_f1: float


def match_gold(gold: Sequence[Pair], written: Sequence[Pair]) -> GoldMatch:
    """Means over the gold pairs of one text.

    Args:
        gold: the data set's pairs, at least one.
        written: a synthesizer's pairs about the same text; may be none.
    """
    matches = [_match(pair, written) for pair in gold]
    return GoldMatch(
        sum(match.question_f1 for match in matches) / len(matches),
        sum(match.answer_f1 for match in matches) / len(matches),
    )


def _match(gold: Pair, written: Sequence[Pair]) -> GoldMatch:
    if not written:
        return GoldMatch(0.0, 0.0)
    return max(
        (_compare(gold, pair) for pair in written),
        key=lambda found: (found[0], found[1].question_f1 + found[1].answer_f1),
    )[1]


def _compare(gold: Pair, written: Pair) -> tuple[float, GoldMatch]:
    """F1 of question and answer together, and of both apart."""
    return token_f1(_whole(gold), _whole(written)), GoldMatch(
        token_f1(gold.instruction, written.instruction), token_f1(gold.response, written.response)
    )


def _whole(pair: Pair) -> str:
    return f"{pair.instruction} {pair.response}"
