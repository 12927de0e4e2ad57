"""The measures of what one synthesizer wrote about some texts; pure functions of the replies.

    texts_with_pair       texts with at least one pair that can be read / all texts
    fragments_read        pieces between end marks that are well-formed pairs / all pieces written;
                          a repeated question is well-formed, a pair that was cut off is not
    stopped               replies that end by EOS before max_new_tokens / all texts
    pairs_per_text        pairs, each question of a text once / all texts
    unique_in_text        different questions of each text / well-formed pairs
    unique                different questions of all texts together / well-formed pairs
    grounded              pairs that the grounding check of synthesis lets pass / pairs
    question_f1           } see `synth.measuring.gold`; means over the texts that have gold pairs
    answer_f1             }

Nothing is filtered before it is measured: no check has dropped a pair.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.contracts import Pair
from synth.measuring.gold import GoldMatch, match_gold
from synth.measuring.held_out import HeldOutText
from synth.measuring.replies import Replies
from synth.pairs import DUPLICATE_QUESTION, ParsedPairs, asked_question
from synth.quality.collapse import CorpusMetrics
from synth.quality.config import GroundingConfig
from synth.quality.grounding import grounding_verdict
from synth.quality.text_index import TextIndex
from synth.quality.words import PairWords
from synth.wire import parse_pairs

_GROUNDING = GroundingConfig()


@dataclass(frozen=True)
class Measures:
    """Shares lie in 0..1; a share of nothing is 0."""

    num_texts: int
    num_pairs: int
    """Each question of a text once."""
    texts_with_pair: float
    fragments_read: float
    stopped: float
    pairs_per_text: float
    unique_in_text: float
    unique: float
    grounded: float
    question_f1: float | None
    """None: no text has gold pairs."""
    answer_f1: float | None
    kinds: Mapping[str, int]
    """Pairs by kind."""
    categories: Mapping[str, int]
    """Pairs by task category (`synth.quality.categories`)."""
    fragments_dropped: Mapping[str, int]
    """Pieces that are no pair, by reason; and repeated questions."""
    prompts: Mapping[str, int]
    """What had to give for prompts to fit, and requests that failed."""
    mean_shots: float
    """Earlier examples that a prompt had."""
    output_tokens: int
    seconds: float
    """From the first request to the last reply, without the engine's start, on the machine and with
    the engine's settings of the day: kept replies keep their time."""
    tokens_per_s: float
    """Output tokens of all requests together."""

    @property
    def num_kinds(self) -> int:
        """Kinds of pairs that occur."""
        return len(self.kinds)

    @property
    def num_categories(self) -> int:
        """Task categories that occur."""
        return len(self.categories)

    def as_json(self) -> dict[str, Any]:
        """All fields, as JSON-like values."""
        return dataclasses.asdict(self)


def read_replies(replies: Replies) -> list[ParsedPairs]:
    """The pairs of each text; none where its request failed."""
    return [parse_pairs(reply.text if reply else "") for reply in replies.replies]


def measure(texts: Sequence[HeldOutText], replies: Replies, max_new_tokens: int) -> Measures:
    """All measures of one synthesizer's replies.

    Args:
        texts: what was written about, at least one.
        replies: in the order of the texts.
        max_new_tokens: where a reply was cut off.
    """
    parsed = read_replies(replies)
    pairs = [one.pairs for one in parsed]
    dropped = sum((one.dropped for one in parsed), Counter[str]())
    num_pairs = sum(map(len, pairs))
    well_formed = num_pairs + dropped[DUPLICATE_QUESTION]
    fragments = num_pairs + dropped.total()
    questions = {asked_question(pair) for some in pairs for pair in some}
    stopped = sum(reply is not None and reply.num_tokens < max_new_tokens for reply in replies)
    output_tokens = sum(reply.num_tokens for reply in replies if reply is not None)
    corpus = CorpusMetrics()
    for text, some in zip(texts, pairs, strict=True):
        corpus.add(text.text, some)
    described = corpus.result()
    matches = _match_texts(texts, pairs)
    return Measures(
        num_texts=len(texts),
        num_pairs=num_pairs,
        texts_with_pair=_share(sum(map(bool, pairs)), len(texts)),
        fragments_read=_share(well_formed, fragments),
        stopped=_share(stopped, len(texts)),
        pairs_per_text=_share(num_pairs, len(texts)),
        unique_in_text=_share(num_pairs, well_formed),
        unique=_share(len(questions), well_formed),
        grounded=_share(_num_grounded(texts, pairs), num_pairs),
        question_f1=_mean([match.question_f1 for match in matches]),
        answer_f1=_mean([match.answer_f1 for match in matches]),
        kinds=described["kinds"],
        categories=described["categories"],
        fragments_dropped=dict(dropped.most_common()),
        prompts=replies.events,
        mean_shots=_share(replies.num_shots, len(texts)),
        output_tokens=output_tokens,
        seconds=replies.seconds,
        tokens_per_s=_share(output_tokens, replies.seconds),
    )


def _num_grounded(texts: Sequence[HeldOutText], pairs: Sequence[Sequence[Pair]]) -> int:
    number = 0
    for text, some in zip(texts, pairs, strict=True):
        index = TextIndex(text.text)
        number += sum(not grounding_verdict(index, p, PairWords(p), _GROUNDING) for p in some)
    return number


def _match_texts(texts: Sequence[HeldOutText], pairs: Sequence[Sequence[Pair]]) -> list[GoldMatch]:
    return [
        match_gold(text.gold, some) for text, some in zip(texts, pairs, strict=True) if text.gold
    ]


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
