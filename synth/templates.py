"""Pairs into text: how an instruction-augmented document reads.

One random stream an example, keyed on its content id, so that re-sharding changes no text. A chain
keeps one layout for all its shots.
"""

import random
from dataclasses import dataclass

from pipeline.contracts import Chain, Pair, Shot

_INVERTED_SHARE = 0.05
_PAIR_LAYOUTS = (
    "Question: {q}\nAnswer: {a}",
    "Q: {q}\nA: {a}",
    "{q}\n{a}",
    "{q} {a}",
    "Question: {q} Answer: {a}",
    "Read the text and answer.\n{q}\n{a}",
    "Problem: {q}\nSolution: {a}",
    "Using the passage, respond: {q}\nResponse: {a}",
    "* {q}\n  {a}",
    "User: {q}\nAssistant: {a}",
)
_TEXT_LAYOUTS = (
    "{text}",
    "{text}",
    "{text}",
    "Text: {text}",
    "Passage:\n{text}",
    "Read this:\n{text}",
)
_OPTION_LABELS = ("- ", "* ", "({n}) ", "{n}. ", "{letter}) ", "({letter}) ", "{letter}. ")


@dataclass(frozen=True)
class Layout:
    """The drawn form of one example."""

    text: str
    pair: str
    option: str
    pair_gap: str
    is_inverted: bool


def draw_layout(identity: str, seed: int) -> Layout:
    """Draw a layout from the stream of one example's content id."""
    stream = random.Random(f"{seed}:{identity}")
    return Layout(
        text=stream.choice(_TEXT_LAYOUTS),
        pair=stream.choice(_PAIR_LAYOUTS),
        option=stream.choice(_OPTION_LABELS),
        pair_gap=stream.choice(("\n\n", "\n\n", "\n")),
        is_inverted=stream.random() < _INVERTED_SHARE,
    )


def render_chain(chain: Chain, seed: int) -> str:
    """The pre-training text of a chain: its shots in order. Never empty.

    A shot without pairs is the bare text.
    """
    layout = draw_layout(chain.id, seed)
    return "\n\n".join(_render_shot(shot, layout) for shot in chain.shots)


def _render_shot(shot: Shot, layout: Layout) -> str:
    if not shot.pairs:
        return shot.text
    text = layout.text.replace("{text}", shot.text)
    pairs = layout.pair_gap.join(_render_pair(pair, layout) for pair in shot.pairs)
    return f"{pairs}\n\n{text}" if layout.is_inverted else f"{text}\n\n{pairs}"


def _render_pair(pair: Pair, layout: Layout) -> str:
    question, answer = pair.instruction, pair.response
    if pair.options:
        labelled = [_label(layout.option, n) + option for n, option in enumerate(pair.options)]
        question += "\n" + "\n".join(labelled)
    if pair.reasoning:
        answer = f"{pair.reasoning}\nTherefore, the answer is {answer}"
    # Replaced in one pass over the layout: a question that holds "{a}" stays as it is.
    before, _, rest = layout.pair.partition("{q}")
    between, _, after = rest.partition("{a}")
    return f"{before}{question}{between}{answer}{after}"


def _label(style: str, number: int) -> str:
    return style.replace("{n}", str(number + 1)).replace("{letter}", chr(ord("A") + number % 26))
