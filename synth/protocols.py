"""How a synthesizer is asked and understood: `tuned` (published wire format) and `chat` (prompted).

Both turn (earlier turns, text) into token ids that fit the context window, and the reply into
structured pairs.
"""

import bisect
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pipeline.contracts import Pair
from pipeline.errors import InputError
from pipeline.pretrained import load_tokenizer
from synth import chat, wire
from synth.config import SynthConfig
from synth.engines.protocol import Prompt
from synth.language import detect_language
from synth.pairs import ParsedPairs
from synth.sentences import SENTENCE_END
from synth.styles.library import StyleLibrary, load_library
from synth.styles.reply import parse_reply
from synth.styles.spans import choose_spans
from synth.tasks import Task, Turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class WireProtocol(Protocol):
    """One way of asking for pairs."""

    def plan(self, identity: str, text: str, attempt: int) -> Task:
        """What to ask about a text; drawn from the stream of its content id and attempt."""
        ...

    def encode_prompt(self, history: Sequence[Turn], text: str, task: Task) -> Prompt:
        """The prompt for `text` after the turns of `history`."""
        ...

    def parse(self, output: str, task: Task) -> ParsedPairs:
        """Pairs in a reply."""
        ...

    def encode_question(self, text: str, pair: Pair) -> Prompt:
        """A prompt that has a pair's question answered again."""
        ...

    def parse_answer(self, output: str) -> str:
        """The answer in the reply to `encode_question`."""
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

    def plan(self, identity: str, text: str, attempt: int) -> Task:
        """The format has one task only."""
        del identity, text, attempt
        return Task()

    def encode_prompt(self, history: Sequence[Turn], text: str, task: Task) -> Prompt:
        """Earlier examples, each closed by EOS, then the current context."""
        del task
        bos, eos = [self._tokenizer.bos_token_id], [self._tokenizer.eos_token_id]
        ids: list[int] = []
        for turn in history:
            example = wire.format_context(turn.text) + wire.format_pairs(turn.pairs)
            ids += bos + self._encode(example) + eos
        return Prompt(ids + bos + self._encode_context(text))

    def parse(self, output: str, task: Task) -> ParsedPairs:
        """Pairs in a reply."""
        del task
        return wire.parse_pairs(output)

    def encode_question(self, text: str, pair: Pair) -> Prompt:
        """The context and the question, up to where the answer begins."""
        prompt = wire.format_context(text) + wire.format_question(pair)
        return Prompt([self._tokenizer.bos_token_id, *self._encode(prompt)])

    def parse_answer(self, output: str) -> str:
        """What stands before the pair's end."""
        return wire.parse_answer(output)

    def _encode_context(self, text: str) -> list[int]:
        """The context as its tokens are where a pair follows, which is how a synthesizer is tuned.

        Of the empty line before a pair, many tokenizers make other tokens at the end of a text.
        """
        context = wire.format_context(text)
        if not self._tokenizer.is_fast:  # it cannot tell where tokens begin
            return self._encode(context)
        encoding = self._tokenizer(
            context + wire.BEGINNING,
            add_special_tokens=False,
            split_special_tokens=True,
            return_offsets_mapping=True,
        )
        ends = [end for _, end in encoding["offset_mapping"]]
        return list(encoding["input_ids"][: bisect.bisect_right(ends, len(context))])

    def _encode(self, text: str) -> list[int]:
        return list(
            self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        )


class ChatProtocol:
    """Any instruct model through its chat template, in task styles; see `synth.chat`."""

    def __init__(
        self, tokenizer: "PreTrainedTokenizerBase", library: StyleLibrary, seed: int
    ) -> None:
        """Take the synthesizer's tokenizer and the styles to ask in.

        Raises:
            InputError: it has no chat template.
        """
        if not tokenizer.chat_template:
            raise InputError(
                "protocol 'chat' needs a tokenizer with a chat template; "
                "use protocol 'tuned' for a synthesizer tuned on the wire format"
            )
        self._tokenizer, self._library, self._seed = tokenizer, library, seed

    def plan(self, identity: str, text: str, attempt: int) -> Task:
        """A style drawn by weight, its answers where it wants them given, the text's language."""
        stream = random.Random(f"{self._seed}:{identity}:{attempt}")
        name = self._library.draw(stream)
        style = self._library.styles[name]
        spans = choose_spans(text, style.pairs[1], stream) if style.answers == "spans" else ()
        return Task(name, style, detect_language(text), spans)

    def encode_prompt(self, history: Sequence[Turn], text: str, task: Task) -> Prompt:
        """The conversation, earlier turns of the chain as earlier turns."""
        return self._encode(chat.build_messages(history, text, task))

    def parse(self, output: str, task: Task) -> ParsedPairs:
        """Pairs in a reply."""
        assert task.style is not None
        return parse_reply(output, task.style)

    def encode_question(self, text: str, pair: Pair) -> Prompt:
        """A conversation of one question."""
        return self._encode(chat.build_question(text, pair))

    def parse_answer(self, output: str) -> str:
        """The reply as it is."""
        return output.strip()

    def _encode(self, messages: list[dict[str, str]]) -> Prompt:
        return Prompt(chat.encode_messages(self._tokenizer, messages), tuple(messages))


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
    if config.protocol == "tuned":
        return TunedProtocol(tokenizer)
    library = load_library(config.style_folder, config.styles)
    return ChatProtocol(tokenizer, library, config.style_seed)


@dataclass(frozen=True)
class FittedPrompt:
    """A prompt within budget, and what had to give: counts by event."""

    prompt: Prompt
    events: Counter[str] = field(default_factory=Counter)


def fit_prompt(
    protocol: WireProtocol, history: Sequence[Turn], text: str, task: Task, max_tokens: int
) -> FittedPrompt:
    """Build a prompt of at most `max_tokens` tokens.

    Earlier turns are left out oldest first; only when none is left the text itself is cut, at a
    line or sentence end.

    Raises:
        InputError: not even an empty text fits.
    """
    events: Counter[str] = Counter()
    turns = list(history)
    while len(prompt := protocol.encode_prompt(turns, text, task)) > max_tokens and turns:
        turns.pop(0)
        events["shots_left_out_of_prompt"] += 1
    if len(prompt) > max_tokens:
        prompt = _cut_to_fit(protocol, text, task, max_tokens)
        events["texts_cut_in_prompt"] += 1
    return FittedPrompt(prompt, events)


def _cut_to_fit(protocol: WireProtocol, text: str, task: Task, max_tokens: int) -> Prompt:
    """Prompt of the longest beginning of `text` that fits, found by bisection over characters."""
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if len(protocol.encode_prompt((), text[:middle], task)) <= max_tokens:
            fits = middle
        else:
            too_long = middle
    prompt = protocol.encode_prompt((), text[: _last_pause(text[:fits])], task)
    if len(prompt) > max_tokens:
        raise InputError(
            f"the prompt without any text takes {len(prompt)} tokens, the budget is {max_tokens}; "
            f"raise synth.max_model_len or lower synth.max_new_tokens"
        )
    return prompt


def _last_pause(text: str) -> int:
    """Where to cut `text` so that it ends with a line or a sentence.

    Where that would lose three quarters of it, it ends with a word at least.
    """
    ends = [match.end() for match in SENTENCE_END.finditer(text, len(text) // 4)]
    return ends[-1] if ends else max(text.rfind(" "), 0) or len(text)
