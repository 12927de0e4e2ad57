"""SQuAD and what is written like it.

    {"data": [{"paragraphs": [{"context": ..., "qas": [{"question": ..., "answers": [...]}]}]}]}
    {"context": ..., "question": ..., "answers": {"text": [...]}}     one question a record

Of several gold answers the most common counts, of equals the first. A question that cannot be
answered (`is_impossible`, or no answer in the list) is dropped.
"""

from collections import Counter
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


def convert_squad(record: dict[str, Any], origin: Origin) -> Iterator[TaskExample | BadItem]:
    """One example for each paragraph of a file, an article or a record."""
    for paragraph in _paragraphs(record):
        if isinstance(paragraph, BadItem):
            yield paragraph
        else:
            yield make_example(origin.source, paragraph.get("context"), _questions(paragraph))


def _paragraphs(record: dict[str, Any]) -> Iterator[dict[str, Any] | BadItem]:
    if "data" in record:
        for article in objects_in(record["data"], "article"):
            if isinstance(article, BadItem):
                yield article
            else:
                yield from objects_in(article.get("paragraphs"), "paragraph")
    elif "paragraphs" in record:
        yield from objects_in(record["paragraphs"], "paragraph")
    else:
        yield record


def _questions(paragraph: dict[str, Any]) -> Iterator[Asked]:
    if "qas" not in paragraph:
        yield _asked(paragraph)
        return
    for question in objects_in(paragraph["qas"], "question"):
        yield question.reason if isinstance(question, BadItem) else _asked(question)


def _asked(question: dict[str, Any]) -> Asked:
    if question.get("is_impossible") is True:
        return "unanswerable"
    answers = question.get("answers")
    if isinstance(answers, dict):
        answers = answers.get("text")
    if not isinstance(answers, list | tuple):
        return lack_of("answers", answers)
    if not answers:
        return "unanswerable"
    texts = [text_of(each.get("text") if isinstance(each, dict) else each) for each in answers]
    if golden := Counter(filter(None, texts)).most_common(1):
        return question.get("question"), golden[0][0]
    return "malformed_answers" if None in texts else "empty_answer"
