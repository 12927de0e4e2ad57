"""Chains side by side: the text, the pairs about it, and what a model reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from launch.rendering import Layouts
from launch.report.wording import clip
from pipeline.contracts import Chain, Pair, RenderedText, Shot
from synth.templates import ChainRenderer

_MAX_TEXT_CHARS, _MAX_RENDERED_CHARS, _MAX_PAIR_CHARS = 4_000, 9_000, 1_500


@dataclass(frozen=True)
class Segment:
    """A piece of a rendered text; `role` is empty outside of instructions and responses."""

    text: str
    role: str


@dataclass(frozen=True)
class ShotView:
    """A document and its pairs, long parts cut."""

    doc_id: str
    text: str
    style: str
    pairs: Sequence[Pair]


@dataclass(frozen=True)
class ExampleView:
    """A chain and its rendered form."""

    id: str
    source: str
    shots: Sequence[ShotView]
    rendered: Sequence[Segment]


def view_chains(chains: Sequence[Chain], layouts: Layouts) -> list[ExampleView]:
    """Chains as they are shown, rendered in the layouts of their run."""
    render = ChainRenderer(layouts.template_folder)
    return [
        ExampleView(
            id=chain.id,
            source=chain.source,
            shots=[view_shot(shot) for shot in chain.shots],
            rendered=list(segments(render(chain, layouts.template_seed), _MAX_RENDERED_CHARS)),
        )
        for chain in chains
    ]


def segments(rendered: RenderedText, max_chars: int) -> Iterator[Segment]:
    """A rendered text cut at its spans; of a longer one, the beginning."""
    end = min(len(rendered.text), max_chars)
    position = 0
    for span in rendered.spans:
        if span.start >= end:
            break
        if span.start > position:
            yield Segment(rendered.text[position : span.start], "")
        yield Segment(rendered.text[span.start : min(span.end, end)], span.role)
        position = min(span.end, end)
    if position < end:
        yield Segment(rendered.text[position:end], "")
    if end < len(rendered.text):
        yield Segment(f" \u2026 ({len(rendered.text) - end:,} more characters)", "cut")


def view_shot(shot: Shot) -> ShotView:
    """A document and its pairs as they are shown, long parts cut."""
    pairs = [
        Pair(
            instruction=clip(pair.instruction, _MAX_PAIR_CHARS),
            response=clip(pair.response, _MAX_PAIR_CHARS),
            kind=pair.kind,
            options=tuple(clip(option, _MAX_PAIR_CHARS) for option in pair.options),
            reasoning=clip(pair.reasoning, _MAX_PAIR_CHARS),
        )
        for pair in shot.pairs
    ]
    text = clip(shot.text, _MAX_TEXT_CHARS)
    return ShotView(shot.doc_id, text, shot.provenance.get("style", ""), pairs)
