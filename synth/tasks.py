"""What a synthesizer is asked about one text, and a text that has been asked about."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.contracts import Pair
from synth.language import NAMES
from synth.quality.echo import echo_strings
from synth.quality.expectations import NOTHING_SPECIAL, Expectations
from synth.styles.library import Style
from synth.styles.reply import format_reply, reply_schema
from synth.styles.spans import AnswerSpan, in_sentence


@dataclass(frozen=True)
class Task:
    """One request about one text; the tuned protocol's has no style."""

    style_name: str = ""
    style: Style | None = None
    language: str = ""
    """ISO 639-1 code of the text; empty: unclear."""
    spans: tuple[AnswerSpan, ...] = ()
    """Answers chosen beforehand."""

    @property
    def is_impossible(self) -> bool:
        """Whether the style needs answers that the text does not have."""
        return self.style is not None and self.style.answers == "spans" and not self.spans

    def request(self) -> str:
        """What the model is asked, after the passage."""
        assert self.style is not None
        return _request(self.style, self.spans) + _language_rule(self.language)

    def schema(self) -> dict[str, Any] | None:
        """JSON schema that the reply has to follow; None for a tuned synthesizer."""
        return None if self.style is None else reply_schema(self.style, self.spans, self.language)

    def expectations(self) -> Expectations:
        """What the checks have to know; a weak model repeats the prompt's example."""
        if self.style is None:
            return NOTHING_SPECIAL
        return Expectations(
            echoes=echo_strings(self.style.example_pairs()),
            is_linked=self.style.is_linked,
            min_question_support=self.style.min_question_support,
            min_support=self.style.min_support,
        )

    def provenance(self) -> dict[str, str]:
        """What is kept beside the pairs."""
        if self.style is None:
            return {}
        fields = {"style": self.style_name, "prompt": self.style.fingerprint()}
        fields |= {"language": self.language} if self.language else {}
        return fields | self.expectations().provenance()


@dataclass(frozen=True)
class Turn:
    """A text of a chain with the task it was given and the pairs that came of it."""

    text: str
    task: Task
    pairs: tuple[Pair, ...]


def example_turn(style: Style) -> tuple[str, str, str]:
    """Passage, request and reply of a style's example."""
    pairs = style.example_pairs()
    spans: tuple[AnswerSpan, ...] = ()
    if style.answers == "spans":
        spans = tuple(in_sentence(style.example.text, pair.response, "clause") for pair in pairs)
    request = _request(style, spans)
    return style.example.text, request, format_reply(pairs, style)


def _request(style: Style, spans: Sequence[AnswerSpan]) -> str:
    fewest, most = style.pairs
    count = str(most) if fewest == most else f"{fewest} to {most}"
    listing = "\n".join(f"- {span.text}  [{span.sentence}]".removesuffix("  []") for span in spans)
    # In one pass each: a span that holds "{count}" stays as it is.
    before, _, after = style.request.strip().replace("\n", " ").partition("{spans}")
    request = before.replace("{count}", count)
    return f"{request.rstrip()}\n{listing}{after}" if spans else request


def _language_rule(language: str) -> str:
    if language in ("", "en"):
        return ""
    name = NAMES.get(language, "the language of the passage")
    return f" Write everything in {name}, the language of the passage; keep the JSON's field names."
