r"""A record's text: one field, a template of fields, or instructions with their responses.

    {"instruction": "Add.", "input": "2 + 2", "output": "4"}  ─▶  "Add.\n2 + 2 4"
                                                                  instruction_chars = 10
    {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}, ...]}
                                                              ─▶  "Hi Hello\nHow? Well."
                                                                  turns = "2 5 4 5"

Instructions are written `{question} {response}`, without a template, as in Instruction Pre-Training
(Cheng et al. 2024). The numbers of characters go into `meta`, so that a later stage can
train on the responses only. White space around each is dropped first, so they are exact.
"""

from dataclasses import dataclass, field
from typing import Any

from pipeline.ingest.config import SourceConfig, template_fields

_BOM = "\ufeff"
_QUESTION, _RESPONSE, _SYSTEM = "question", "response", "system"
_ROLES = {
    "system": _SYSTEM,
    "developer": _SYSTEM,
    "human": _QUESTION,
    "user": _QUESTION,
    "prompter": _QUESTION,
    "gpt": _RESPONSE,
    "chatgpt": _RESPONSE,
    "assistant": _RESPONSE,
    "model": _RESPONSE,
}


# A question or response: texts to stand on lines of their own, such as a question and its input.
_Turn = list[str]


@dataclass(frozen=True, slots=True)
class Extracted:
    """The text of a record, what `meta` says of it, and which repairs it needed."""

    text: str
    meta: dict[str, str] = field(default_factory=dict)
    had_bom: bool = False
    had_crlf: bool = False


def extract(value: dict[str, Any], source: SourceConfig) -> Extracted | str:
    """The text of a record, or the reason why it has none."""
    if source.kind == "text":
        return _extract_text(value, source)
    if source.messages_field:
        turns = _conversation(value, source.messages_field)
    else:
        turns = _pair(value, source)
    return turns if isinstance(turns, str) else _join(turns)


def _extract_text(value: dict[str, Any], source: SourceConfig) -> Extracted | str:
    for name in template_fields(source.text_template) or [source.text_field]:
        if problem := _problem(value, name):
            return f"{problem}_text"
    template = source.text_template
    text: str = template.format_map(value) if template else value[source.text_field]
    if _is_blank(text):
        return "empty_text"
    if "\0" in text:
        return "nul_byte"
    return Extracted(_repair(text), {}, text.startswith(_BOM), "\r\n" in text)


def _problem(value: dict[str, Any], name: str) -> str:
    """Why a field holds no string; empty if it does."""
    if name not in value:
        return "missing"
    if value[name] is None:
        return "null"
    return "" if isinstance(value[name], str) else "non_string"


def _repair(text: str) -> str:
    return text.removeprefix(_BOM).replace("\r\n", "\n")


def _is_blank(text: str) -> bool:
    return not text.removeprefix(_BOM).strip()


def _pair(value: dict[str, Any], source: SourceConfig) -> list[_Turn] | str:
    """Question and response of a record."""
    for name, part in ((source.question_field, _QUESTION), (source.response_field, _RESPONSE)):
        if problem := _problem(value, name):
            return f"{problem}_{part}"
        if _is_blank(value[name]):
            return f"empty_{part}"
    question = [value[source.question_field]]
    if source.input_field and value.get(source.input_field) is not None:
        subject = value[source.input_field]
        if not isinstance(subject, str):
            return "non_string_input"
        question.append(subject)
    return [question, [value[source.response_field]]]


def _conversation(value: dict[str, Any], name: str) -> list[_Turn] | str:
    """Questions and responses of a conversation, in turn."""
    if value.get(name) is None:
        return "missing_messages"
    if not isinstance(value[name], list):
        return "malformed_messages"
    system, turns = _Turn(), list[_Turn]()
    for message in value[name]:
        if not isinstance(message, dict):
            return "malformed_messages"
        role = _ROLES.get(str(message.get("from", message.get("role"))))
        text = message.get("value", message.get("content"))
        if role is None:
            return "unknown_role"
        if not isinstance(text, str):
            return f"missing_{role}" if text is None else f"non_string_{role}"
        if role == _SYSTEM:
            if turns or system:
                return "misplaced_system"
            system = [text]
        elif (role == _QUESTION) == bool(len(turns) % 2):
            return "missing_question" if role == _RESPONSE else "missing_response"
        elif _is_blank(text):
            return f"empty_{role}"
        else:
            turns.append([*system, text] if not turns else [text])
    if not turns or len(turns) % 2:
        return "missing_response" if turns else "missing_question"
    return turns


def _join(turns: list[_Turn]) -> Extracted | str:
    """Questions and responses in turn as one text, a single character between any two."""
    cleaned = ["\n".join(filter(None, (_repair(text).strip() for text in turn))) for turn in turns]
    if any("\0" in turn for turn in cleaned):
        return "nul_byte"
    exchanges = zip(cleaned[::2], cleaned[1::2], strict=True)
    lengths = [str(len(turn)) for turn in cleaned]
    is_single = len(cleaned) == 2
    return Extracted(
        text="\n".join(f"{question} {response}" for question, response in exchanges),
        meta={"instruction_chars": lengths[0]} if is_single else {"turns": " ".join(lengths)},
        had_bom=any(text.startswith(_BOM) for turn in turns for text in turn),
        had_crlf=any("\r\n" in text for turn in turns for text in turn),
    )
