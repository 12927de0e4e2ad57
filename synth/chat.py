"""The conversation in which an instruct model is asked for pairs.

    user       passage of the style's example + request          shown once for each style
    assistant  {"pairs": [...]}
    user       earlier passage of the chain + request            ... with its surviving pairs
    assistant  {"pairs": [...]}
    user       this passage + request                       ──▶  the model's reply

What comes earlier never changes with what comes later, so each prompt of a chain begins with the
one before it and is found in the engine's prefix cache.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.contracts import Pair
from pipeline.errors import InputError
from synth.styles.reply import format_reply
from synth.tasks import Task, Turn, example_turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_RULES = (
    "You write pairs of instructions and responses that a language model will learn from. They "
    "rest on the passage you are given, stand on their own feet, and differ from each other. "
    "Reply with JSON only."
)
_QUESTION = (
    "Answer the question from the passage, in as few words as possible. If there are options, "
    "repeat the right one word for word. Write nothing but the answer."
)
_MARK = "\ue000{}\ue001"


def build_messages(history: Sequence[Turn], text: str, task: Task) -> list[dict[str, str]]:
    """The conversation that asks for pairs about `text`: examples, earlier turns, the request."""
    messages: list[dict[str, str]] = []
    shown: set[str] = set()
    for turn in (*history, Turn(text, task, ())):
        style = turn.task.style
        assert style is not None
        if turn.task.style_name not in shown:
            shown.add(turn.task.style_name)
            example_text, request, reply = example_turn(style)
            messages += [_ask(example_text, request), _answer(reply)]
        messages += [_ask(turn.text, turn.task.request()), _answer(format_reply(turn.pairs, style))]
    messages.pop()  # the reply that is wanted
    return _with_rules(messages)


def build_question(text: str, pair: Pair) -> list[dict[str, str]]:
    """The conversation that asks a pair's question again."""
    options = "".join(f"\n- {option}" for option in pair.options)
    return [_ask(text, f"{_QUESTION}\n\n{pair.instruction}{options}")]


def encode_messages(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[dict[str, str]]
) -> list[int]:
    """Token ids of a conversation up to where the assistant speaks.

    Only the template's own marks become special tokens: a passage that spells one, such as
    `<|im_end|>`, stays text and cannot end its turn.

    Raises:
        InputError: the chat template drops or repeats a message.
    """
    marks = [_MARK.format(number) for number in range(len(messages))]
    marked = [
        {"role": message["role"], "content": mark}
        for message, mark in zip(messages, marks, strict=True)
    ]
    rest = str(tokenizer.apply_chat_template(marked, add_generation_prompt=True, tokenize=False))
    ids: list[int] = []
    for message, mark in zip(messages, marks, strict=True):
        before, found, rest = rest.partition(mark)
        if not found or mark in rest:
            raise InputError("the tokenizer's chat template does not show each message once")
        ids += tokenizer(before, add_special_tokens=False)["input_ids"]
        ids += tokenizer(message["content"], add_special_tokens=False, split_special_tokens=True)[
            "input_ids"
        ]
    return ids + list(tokenizer(rest, add_special_tokens=False)["input_ids"])


def _ask(text: str, request: str) -> dict[str, str]:
    return {"role": "user", "content": f"Passage:\n{text}\n\n{request}"}


def _answer(reply: str) -> dict[str, str]:
    return {"role": "assistant", "content": reply}


def _with_rules(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """The rules stand in the first user message, as not every chat template has a system role."""
    first = messages[0]
    return [first | {"content": f"{_RULES}\n\n{first['content']}"}, *messages[1:]]
