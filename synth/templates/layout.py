"""What is drawn for one example: a mode, and one pattern of every kind, for all its shots.

Every example has a random stream of its own, keyed on its content id and a seed: neither its
position nor its shard nor another example has a part in it. Each component is drawn by a number of
its own and always in the same order, so that no two are tied to each other.
"""

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from synth.templates.labels import NUMBERS, UPPER, LabelStyle
from synth.templates.patterns import Around, ByNumber, Frame
from synth.templates.pools import FewShot, Mode, NextTurn, NumberedList, Pools

EntryT = TypeVar("EntryT")

_BARE = Around("", "")
_NO_LINE = ByNumber("", "")
_GAPS_OF_PAIRS = ("\n\n", "\n\n", "\n")
_GAPS_OF_INTROS = ("\n\n", "\n")
_GAPS_OF_TURNS = ("\n", "\n\n")


@dataclass(frozen=True, slots=True)
class PairLayout:
    """How a question and its answer are put into words."""

    frames: tuple[Frame, Frame, Frame, Frame]
    """Of plain pairs, with options, with reasoning, with both."""
    gap: str
    """Between two pairs."""
    cue: str
    """Asks for reasoning."""
    answer_lead: str
    """From the reasoning to the answer."""
    options_intro: str
    """Before the options."""
    labels: LabelStyle
    """Of the options."""


@dataclass(frozen=True, slots=True)
class TalkLayout:
    """How pairs become a conversation."""

    intro: str
    """Before the first turn."""
    asks: Around
    """A turn of the one who asks."""
    answers: Around
    """A turn of the other."""
    gap: str
    """Between two turns."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The drawn form of one example."""

    mode: Mode
    is_inverted: bool
    """Pairs stand before the text."""
    reading: Around
    """The text's announcement."""
    comprehension: ByNumber
    """From the text to the pairs, in the classic mode."""
    comprehension_gap: str
    pairs: PairLayout
    talk: TalkLayout
    numbered: NumberedList
    next_turn: NextTurn
    few_shot: FewShot


def stream_of(identity: str, seed: int) -> random.Random:
    """The random stream of one example."""
    key = f"{seed}:{identity}".encode(errors="surrogatepass")
    return random.Random(int.from_bytes(hashlib.blake2b(key, digest_size=16).digest(), "big"))


def draw_layout(stream: random.Random, pools: Pools, *, has_several: bool) -> Layout:
    """Draw a layout.

    Args:
        stream: of the example.
        pools: what to draw from.
        has_several: whether every text of the example has two pairs or more.
    """
    modes = pools.modes
    mode = _draw_mode(stream, modes.several if has_several else modes.otherwise)
    is_inverted = stream.random() < modes.inverted_share
    reading = _draw(stream, pools.readings.patterns)
    is_bare = stream.random() < pools.readings.bare_share
    lines = pools.comprehension
    line = _draw(stream, lines.anywhere + (lines.pairs_first if is_inverted else lines.text_first))
    has_no_line = stream.random() < lines.empty_share
    return Layout(
        mode=mode,
        is_inverted=is_inverted,
        # After pairs, only its announcement tells where a text begins.
        reading=_BARE if is_bare and not is_inverted else reading,
        comprehension=_NO_LINE if has_no_line else line,
        comprehension_gap=_draw(stream, _GAPS_OF_INTROS),
        pairs=_draw_pairs(stream, pools, mode),
        talk=_draw_talk(stream, pools),
        numbered=_draw(stream, pools.numbered.patterns),
        next_turn=_draw(stream, pools.next_turn.patterns),
        few_shot=_draw(stream, pools.few_shot.patterns),
    )


def _draw_pairs(stream: random.Random, pools: Pools, mode: Mode) -> PairLayout:
    questions = pools.questions
    labels = _draw(stream, pools.options.styles)
    if mode in ("numbered", "few_shot") and labels.symbols == NUMBERS:
        labels = labels.with_symbols(UPPER)  # the questions have the numbers
    return PairLayout(
        frames=(
            _draw(stream, questions.plain),
            _draw(stream, questions.choice),
            _draw(stream, questions.reasoned),
            _draw(stream, questions.reasoned_choice),
        ),
        gap=_draw(stream, _GAPS_OF_PAIRS),
        cue=_draw(stream, pools.reasoning.cues),
        answer_lead=_draw(stream, pools.reasoning.answer_leads),
        options_intro=_draw(stream, pools.options.intros),
        labels=labels,
    )


def _draw_talk(stream: random.Random, pools: Pools) -> TalkLayout:
    asker, answerer = _draw(stream, pools.dialogue.speakers)
    turn = _draw(stream, pools.dialogue.turns)
    intro, gap = _draw(stream, pools.dialogue.intros), _draw(stream, _GAPS_OF_TURNS)
    return TalkLayout(
        intro=intro,
        asks=Around(turn.before + asker + turn.between, turn.after),
        answers=Around(turn.before + answerer + turn.between, turn.after),
        # A name on a line of its own belongs to what follows, not to what went before.
        gap=_GAPS_OF_TURNS[-1] if turn.between.endswith("\n") else gap,
    )


def _draw(stream: random.Random, pool: Sequence[EntryT]) -> EntryT:
    return pool[int(stream.random() * len(pool))]


def _draw_mode(stream: random.Random, weights: Mapping[Mode, float]) -> Mode:
    point = stream.random() * sum(weights.values())
    for mode, weight in weights.items():
        point -= weight
        if point < 0:
            return mode
    return mode  # rounding left the point at the very end
