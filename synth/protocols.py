"""How a synthesizer is asked and understood: `tuned` (published wire format) and `chat` (prompted).

Both turn (earlier shots, text) into token ids that fit the context window, and the reply into
structured pairs.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pipeline.contracts import Pair, Shot
from pipeline.errors import InputError
from pipeline.pretrained import load_tokenizer
from synth import chat, wire
from synth.config import SynthConfig
from synth.pairs import ParsedPairs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SENTENCE_ENDS = ("\n", ". ", "! ", "? ", " ")


class WireProtocol(Protocol):
    """One way of asking for pairs."""

    def encode_prompt(self, history: Sequence[Shot], text: str) -> list[int]:
        """Token ids of the prompt for `text` after the shots of `history`."""
        ...

    def parse(self, output: str, *, is_finished: bool) -> ParsedPairs:
        """Pairs in a reply; `is_finished` is False when the token limit cut it off."""
        ...

    def format_pairs(self, pairs: Sequence[Pair]) -> str:
        """What a perfect synthesizer would reply with."""
        ...


class TunedProtocol:
    """The published wire format; see `synth.wire`."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        """Take the synthesizer's tokenizer.

        Raises:
            InputError: it lacks BOS or EOS, which the format needs.
        """
        if tokenizer.bos_token_id is None or tokenizer.eos_token_id is None:
            raise InputError(
                "protocol 'tuned' needs a tokenizer with BOS and EOS tokens; "
                "use protocol 'chat' for an instruct model"
            )
        self._tokenizer = tokenizer

    def encode_prompt(self, history: Sequence[Shot], text: str) -> list[int]:
        """Earlier examples, each closed by EOS, then the current context."""
        bos, eos = [self._tokenizer.bos_token_id], [self._tokenizer.eos_token_id]
        ids: list[int] = []
        for shot in history:
            example = wire.format_context(shot.text) + wire.format_pairs(shot.pairs)
            ids += bos + self._encode(example) + eos
        return ids + bos + self._encode(wire.format_context(text))

    def parse(self, output: str, *, is_finished: bool) -> ParsedPairs:
        """Pairs in a reply; an unfinished one shows in the text itself."""
        del is_finished
        return wire.parse_pairs(output)

    def format_pairs(self, pairs: Sequence[Pair]) -> str:
        """Pairs in the wire format."""
        return wire.format_pairs(pairs)

    def _encode(self, text: str) -> list[int]:
        return list(
            self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        )


class ChatProtocol:
    """Any instruct model through its chat template; see `synth.chat`."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        """Take the synthesizer's tokenizer.

        Raises:
            InputError: it has no chat template.
        """
        if not tokenizer.chat_template:
            raise InputError(
                "protocol 'chat' needs a tokenizer with a chat template; "
                "use protocol 'tuned' for a synthesizer tuned on the wire format"
            )
        self._tokenizer = tokenizer

    def encode_prompt(self, history: Sequence[Shot], text: str) -> list[int]:
        """The conversation, earlier shots as earlier turns."""
        ids = self._tokenizer.apply_chat_template(
            chat.build_messages(history, text),
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
        )
        return list(ids)

    def parse(self, output: str, *, is_finished: bool) -> ParsedPairs:
        """Pairs in a reply."""
        return chat.parse_pairs(output, is_finished=is_finished)

    def format_pairs(self, pairs: Sequence[Pair]) -> str:
        """Pairs as the chat prompt asks for them."""
        return chat.format_pairs(pairs)


def load_synthesizer_tokenizer(config: SynthConfig) -> "PreTrainedTokenizerBase":
    """The tokenizer of the synthesizer that a config names.

    Raises:
        InputError: no tokenizer can be loaded from there.
    """
    return load_tokenizer(
        config.model, revision=config.revision, trust_remote_code=config.trust_remote_code
    )


def make_protocol(config: SynthConfig, tokenizer: "PreTrainedTokenizerBase") -> WireProtocol:
    """The protocol that a config names."""
    return TunedProtocol(tokenizer) if config.protocol == "tuned" else ChatProtocol(tokenizer)


@dataclass(frozen=True)
class FittedPrompt:
    """Prompt token ids within budget, and what had to give: counts by event."""

    token_ids: list[int]
    events: Counter[str] = field(default_factory=Counter)


def fit_prompt(
    protocol: WireProtocol, history: Sequence[Shot], text: str, max_tokens: int
) -> FittedPrompt:
    """Build a prompt of at most `max_tokens` tokens.

    Earlier shots are left out oldest first; only when none is left the text itself is cut, at a
    line or sentence end.

    Raises:
        InputError: not even an empty text fits.
    """
    events: Counter[str] = Counter()
    shots = list(history)
    while len(ids := protocol.encode_prompt(shots, text)) > max_tokens and shots:
        shots.pop(0)
        events["shots_left_out_of_prompt"] += 1
    if len(ids) > max_tokens:
        ids = _cut_to_fit(protocol, text, max_tokens)
        events["texts_cut_in_prompt"] += 1
    return FittedPrompt(ids, events)


def _cut_to_fit(protocol: WireProtocol, text: str, max_tokens: int) -> list[int]:
    """Prompt of the longest beginning of `text` that fits, found by bisection over characters."""
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if len(protocol.encode_prompt((), text[:middle])) <= max_tokens:
            fits = middle
        else:
            too_long = middle
    ids = protocol.encode_prompt((), text[: _last_pause(text[:fits])])
    if len(ids) > max_tokens:
        raise InputError(
            f"the prompt without any text takes {len(ids)} tokens, the budget is {max_tokens}; "
            f"raise synth.max_model_len or lower synth.max_new_tokens"
        )
    return ids


def _last_pause(text: str) -> int:
    """Where to cut `text` so that it ends with a line, a sentence or at least a word."""
    for pause in _SENTENCE_ENDS:
        found = text.rfind(pause, len(text) // 2)
        if found > 0:
            return found + len(pause.rstrip() or "")
    return len(text)
