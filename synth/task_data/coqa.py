"""CoQA: a story and a conversation about it, whose turns keep their order.

    {"data": [{"source": "race", "story": ..., "questions": [{"input_text", "turn_id"}, ...],
               "answers": [{"input_text", "span_text", "turn_id"}, ...]}]}
    {"source": "race", "story": ..., "questions": [...], "answers": {"input_text": [...]}}

The answer "unknown" says that the story does not tell; such a turn is dropped.
"""

from collections.abc import Iterator
from typing import Any

from synth.task_data.examples import (
    Asked,
    BadItem,
    Origin,
    TaskExample,
    lack_of,
    make_example,
    objects_in,
    text_of,
)

_UNANSWERABLE = "unknown"


def convert_coqa(record: dict[str, Any], origin: Origin) -> Iterator[TaskExample | BadItem]:
    """One example for each conversation."""
    conversations = objects_in(record["data"], "conversation") if "data" in record else [record]
    for each in conversations:
        yield each if isinstance(each, BadItem) else _example(each, origin)


def _example(conversation: dict[str, Any], origin: Origin) -> TaskExample | BadItem:
    questions, answers = _turns(conversation.get("questions")), _turns(conversation.get("answers"))
    if questions is None:
        return BadItem.of(lack_of("questions", conversation.get("questions")), conversation)
    if answers is None:
        return BadItem.of(lack_of("answers", conversation.get("answers")), conversation)
    if len(questions) != len(answers):
        return BadItem.of("malformed_turns", conversation)
    asked = (_asked(question, answers.get(turn)) for turn, question in questions.items())
    source = conversation.get("source")
    origins = (source,) if isinstance(source, str) else ()
    return make_example(origin.source, conversation.get("story"), asked, origins)


def _turns(value: Any) -> dict[int, Any] | None:
    """Questions or answers by the number of their turn."""
    if isinstance(value, dict):
        value = value.get("input_text")
    if not isinstance(value, list | tuple):
        return None
    turns = {}
    for position, each in enumerate(value, start=1):
        if isinstance(each, dict):
            number = each.get("turn_id")
            turns[number if isinstance(number, int) else position] = each.get("input_text")
        else:
            turns[position] = each
    return turns


def _asked(question: Any, answer: Any) -> Asked:
    said = text_of(answer)
    if said is not None and said.casefold().removesuffix(".") == _UNANSWERABLE:
        return "unanswerable"
    return question, answer
