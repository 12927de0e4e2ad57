"""Chains and documents as the text that a model reads, and where its pairs stand in it.

shot 1: text, pairs  ┐  one layout   announcement, text, line, pairs   ┐  RenderedText:
shot 2: text, pairs  ┘  ─────────▶   announcement, text, line, pairs   ┘  text, spans
"""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pipeline.contracts import Chain, Document, Pair, PairKind, RenderedText, Shot, Span, SpanRole
from synth.templates.layout import Layout, PairLayout, TalkLayout, draw_layout, stream_of
from synth.templates.options import arrange_options
from synth.templates.patterns import Frame
from synth.templates.pools import Mode, Pools, load_pools, shipped_pools

_GAP = "\n\n"


class _Exchange(NamedTuple):
    """A pair in words: options labelled, reasoning before the answer."""

    question: str
    cue: str
    response: str
    frame: Frame
    kind: PairKind


class _Writer:
    """Collects a text piece by piece and notes where its questions and responses stand."""

    __slots__ = ("_end", "_pieces", "_spans")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._spans: list[Span] = []
        self._end = 0

    def add(self, piece: str) -> None:
        self._pieces.append(piece)
        self._end += len(piece)

    def mark(self, piece: str, role: SpanRole, kind: PairKind) -> None:
        start = self._end
        self.add(piece)
        if piece:
            self._spans.append(Span(start, self._end, role, kind))

    def ask(self, exchange: _Exchange) -> None:
        self.mark(exchange.question, "instruction", exchange.kind)
        self.add(exchange.cue)

    def answer(self, exchange: _Exchange) -> None:
        self.mark(exchange.response, "response", exchange.kind)

    def framed(self, exchange: _Exchange, frame: Frame) -> None:
        self.add(frame.before)
        self.ask(exchange)
        self.add(frame.between)
        self.answer(exchange)
        self.add(frame.after)

    def rendered(self) -> RenderedText:
        return RenderedText("".join(self._pieces), tuple(self._spans))


def render_chain(chain: Chain, seed: int, pools: Pools | None = None) -> RenderedText:
    """The pre-training text of a chain: its shots in order, in one layout.

    A shot without pairs is its bare text. Instructions are spans of the question with its options,
    responses are spans of the answer with its reasoning.

    Args:
        chain: an M-shot example.
        seed: another seed draws other layouts.
        pools: what to draw from; None: what is shipped.
    """
    pools = pools or shipped_pools()
    stream = stream_of(chain.id, seed)
    has_several = all(len(shot.pairs) >= 2 for shot in chain.shots)
    layout = draw_layout(stream, pools, has_several=has_several)
    writer = _Writer()
    for number, shot in enumerate(chain.shots):
        if number:
            writer.add(_GAP)
        _write_shot(writer, shot, layout, stream)
    return writer.rendered()


class ChainRenderer:
    """Writes the chains of a run, with the pools shipped or with files in their place."""

    def __init__(self, template_folder: str = "") -> None:
        """Load the pools; see `pools.load_pools` for the folder and what is raised."""
        self._pools = load_pools(template_folder) if template_folder else shipped_pools()

    def __call__(self, chain: Chain, seed: int) -> RenderedText:
        """The pre-training text of a chain; see `render_chain`."""
        return render_chain(chain, seed, self._pools)

    def document(self, document: Document) -> RenderedText:
        """The text of a raw document; see `render_document`."""
        return render_document(document)

    def fingerprint(self) -> str:
        """Hash of everything that can be drawn."""
        return self._pools.fingerprint()


def render_document(document: Document) -> RenderedText:
    """A raw document as it is; of instructions, `meta` says where they stand.

    `meta["instruction_chars"]` is the length of the instruction, `meta["turns"]` the lengths of
    questions and responses in turn. One character stands between any two.

    Raises:
        ValueError: the lengths do not add up to the text.
    """
    text, meta = document.text, document.meta
    if "instruction_chars" in meta:
        instruction = int(meta["instruction_chars"])
        lengths = [instruction, len(text) - instruction - 1]
    else:
        lengths = [int(length) for length in meta.get("turns", "").split()]
    if not lengths:
        return RenderedText(text)
    if min(lengths) < 1 or sum(lengths) + len(lengths) - 1 != len(text) or len(lengths) % 2:
        raise ValueError(
            f"document {document.id}: instructions and responses of {lengths} characters do not "
            f"fill its {len(text)}; ingest it again"
        )
    spans, start = list[Span](), 0
    for number, length in enumerate(lengths):
        role: SpanRole = "response" if number % 2 else "instruction"
        spans.append(Span(start, start + length, role, "free_form"))
        start += length + 1
    return RenderedText(text, tuple(spans))


def _write_shot(writer: _Writer, shot: Shot, layout: Layout, stream: random.Random) -> None:
    text = shot.text.strip()  # the layout has the empty lines
    if not shot.pairs:
        writer.add(text)
        return
    exchanges = [_exchange(pair, layout.pairs, stream) for pair in shot.pairs]
    reading = layout.reading
    if layout.is_inverted:
        _WRITERS[layout.mode](writer, exchanges, layout)
        writer.add(f"{_GAP}{reading.before}{text}{reading.after}")
    else:
        writer.add(f"{reading.before}{text}{reading.after}{_GAP}")
        _WRITERS[layout.mode](writer, exchanges, layout)


def _exchange(pair: Pair, layout: PairLayout, stream: random.Random) -> _Exchange:
    question, cue, response = pair.instruction, "", pair.response
    if pair.options:
        options, labels = arrange_options(pair, layout.labels, stream)
        intro = [layout.options_intro] if layout.options_intro else []
        question = "\n".join([question, *intro, *labels.lines(options)])
        response = labels.answer_to(options, response)
    if pair.reasoning:
        cue = layout.cue and f"\n{layout.cue}"
        response = f"{pair.reasoning}\n{layout.answer_lead}{response}"
    frame = layout.frames[(1 if pair.options else 0) + (2 if pair.reasoning else 0)]
    return _Exchange(question, cue, response, frame, pair.kind)


def _write_classic(writer: _Writer, exchanges: Sequence[_Exchange], layout: Layout) -> None:
    line = layout.comprehension.one if len(exchanges) == 1 else layout.comprehension.several
    if line:
        writer.add(line + layout.comprehension_gap)
    plain = layout.pairs.frames[0]
    is_compact = plain.is_compact and all(exchange.frame is plain for exchange in exchanges)
    gap = layout.pairs.gap if is_compact else _GAP
    for number, exchange in enumerate(exchanges):
        if number:
            writer.add(gap)
        writer.framed(exchange, exchange.frame)


def _write_dialogue(writer: _Writer, exchanges: Sequence[_Exchange], layout: Layout) -> None:
    writer.add(f"{layout.talk.intro}\n")
    _write_talk(writer, exchanges, layout.talk)


def _write_talk(writer: _Writer, exchanges: Sequence[_Exchange], talk: TalkLayout) -> None:
    frame = Frame(talk.asks.before, talk.asks.after + talk.gap + talk.answers.before, "")
    for number, exchange in enumerate(exchanges):
        if number:
            writer.add(talk.gap)
        writer.framed(exchange, frame)
        writer.add(talk.answers.after)


def _write_next_turn(writer: _Writer, exchanges: Sequence[_Exchange], layout: Layout) -> None:
    talk, form = layout.talk, layout.next_turn
    *earlier, last = exchanges
    writer.add(form.opening + _GAP)
    _write_talk(writer, earlier, talk)
    writer.add(talk.gap + talk.asks.before)
    writer.ask(last)
    writer.add(f"{talk.asks.after}{_GAP}{form.request}\n{talk.answers.before}")
    writer.answer(last)
    writer.add(talk.answers.after)


def _write_numbered(writer: _Writer, exchanges: Sequence[_Exchange], layout: Layout) -> None:
    form = layout.numbered
    writer.add(form.questions)
    for number, exchange in enumerate(exchanges, 1):
        item = form.question
        writer.add(f"\n{item.before}{number}{item.between}")
        writer.ask(exchange)
        writer.add(item.after)
    writer.add(_GAP + form.answers)
    for number, exchange in enumerate(exchanges, 1):
        item = form.answer
        writer.add(f"\n{item.before}{number}{item.between}")
        writer.answer(exchange)
        writer.add(item.after)


def _write_few_shot(writer: _Writer, exchanges: Sequence[_Exchange], layout: Layout) -> None:
    form = layout.few_shot
    *examples, last = exchanges
    writer.add(form.intro)
    for number, exchange in enumerate(examples, 1):
        writer.add(_GAP)
        writer.framed(exchange, form.example.numbered(number))
    writer.add(_GAP)
    writer.framed(last, form.last)


_WRITERS: dict[Mode, Callable[[_Writer, Sequence[_Exchange], Layout], None]] = {
    "classic": _write_classic,
    "dialogue": _write_dialogue,
    "numbered": _write_numbered,
    "few_shot": _write_few_shot,
    "next_turn": _write_next_turn,
}
