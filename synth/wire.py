r"""The published synthesizer's wire format (method.md's table, arXiv 2406.14491), to the letter.

    <s> <CON> text </CON>\n\n<QUE> q1 <ANS> a1 </END>\n\n<QUE> q2 <ANS> a2 </END></s>

The tags are ordinary text; `<s>` and `</s>` are the tokenizer's BOS and EOS and are never written
as text here, so that BOS is never doubled.
"""

from collections.abc import Sequence

from pipeline.contracts import Chain, Document, Pair, RenderedText, Span
from synth.pairs import ParsedPairs, structure_pair, unstructure_pair

_QUESTION, _ANSWER, _END = "<QUE>", "<ANS>", "</END>"
_CONTEXT = ("<CON>", "</CON>")
_GAP = "\n\n"
BEGINNING = _QUESTION
"""What every pair begins with."""


def holds_mark(text: str) -> bool:
    """Whether a text has one of the format's marks in it, so that it could not be read back."""
    return any(mark in text for mark in (_QUESTION, _ANSWER, _END, *_CONTEXT))


def format_context(text: str) -> str:
    """The context of one example, from the character after BOS to the first pair."""
    return f" <CON> {text} </CON>{_GAP}"


def format_pairs(pairs: Sequence[Pair]) -> str:
    """All pairs of one example, without EOS."""
    return _GAP.join(
        f"{_QUESTION} {question} {_ANSWER} {answer} {_END}"
        for question, answer in map(unstructure_pair, pairs)
    )


class WireRenderer:
    """Examples for tuning a synthesizer, as the packing stage takes its renderers.

    Every character of the pairs is part of a span, marks and gaps too: the synthesizer writes them.
    """

    def __call__(self, chain: Chain, seed: int) -> RenderedText:
        """The example of a chain's only shot, without BOS and EOS; no seed changes it."""
        del seed
        (shot,) = chain.shots
        pieces, spans = [format_context(shot.text)], list[Span]()
        at = len(pieces[0])
        for number, pair in enumerate(shot.pairs):
            question, answer = unstructure_pair(pair)
            gap = _GAP if number < len(shot.pairs) - 1 else ""
            asked = f"{_QUESTION} {question} {_ANSWER}"
            said = f" {answer} {_END}{gap}"
            middle, end = at + len(asked), at + len(asked) + len(said)
            spans += [
                Span(at, middle, "instruction", pair.kind),
                Span(middle, end, "response", pair.kind),
            ]
            pieces, at = [*pieces, asked, said], end
        return RenderedText("".join(pieces), tuple(spans))

    def document(self, document: Document) -> RenderedText:
        """The text of a raw document as it is."""
        return RenderedText(document.text)

    def fingerprint(self) -> str:
        """The format never changes."""
        return "wire"


def format_question(pair: Pair) -> str:
    """A pair up to where its answer begins, to have the question answered again."""
    question, _ = unstructure_pair(pair)
    return f"{_QUESTION} {question} {_ANSWER}"


def parse_answer(output: str) -> str:
    """What was written after `format_question`."""
    return output.partition(_END)[0].strip()


def parse_pairs(output: str) -> ParsedPairs:
    """Read what the synthesizer wrote about one text. Never raises, whatever the string."""
    parsed = ParsedPairs()
    *pieces, rest = output.split(_END)
    if rest.strip():
        parsed.dropped["unfinished_pair"] += 1
    for piece in pieces:
        fragment = piece.strip()
        if not fragment.startswith(_QUESTION):
            parsed.dropped["no_question_mark"] += 1
        elif fragment.count(_ANSWER) != 1:
            parsed.dropped["not_one_answer_mark"] += 1
        else:
            question, answer = fragment.removeprefix(_QUESTION).split(_ANSWER)
            parsed.take(structure_pair(question.strip(), answer.strip()))
    return parsed
