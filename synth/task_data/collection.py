r"""The published tuning data, `instruction-pretrain/ft-instruction-synthesizer-collection`.

    {"context": "...", "QA_list": [{"Q": "Who?\nOptions:\n- A\n- B", "A": "A"}], "rc_name": "race"}

`QA_list` may be a list of objects, the JSON of one, or an object of two lists, as columnar files
have it. Without `rc_name` the data set is named as its source.
"""

import json
from collections.abc import Iterator
from typing import Any

from synth.task_data.examples import Asked, BadItem, Origin, TaskExample, make_example


def convert_collection(record: dict[str, Any], origin: Origin) -> Iterator[TaskExample | BadItem]:
    """The one example of a record."""
    dataset = record.get("rc_name") or origin.source
    if not isinstance(dataset, str):
        yield BadItem.of("malformed_rc_name", dataset)
        return
    found = _rows(record.get("QA_list"))
    if isinstance(found, str):
        yield BadItem.of(found, record.get("QA_list", record))
        return
    yield make_example(dataset, record.get("context"), map(_asked, found))


def _rows(value: Any) -> list[Any] | str:
    """The questions of a record, or the reason why it has none."""
    if value is None:
        return "missing_qa_list"
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return "malformed_qa_list"
    if isinstance(value, dict):
        questions, answers = value.get("Q"), value.get("A")
        if not (isinstance(questions, list) and isinstance(answers, list)):
            return [value]
        if len(questions) != len(answers):
            return "malformed_qa_list"
        return [{"Q": q, "A": a} for q, a in zip(questions, answers, strict=True)]
    return value if isinstance(value, list) else "malformed_qa_list"


def _asked(row: Any) -> Asked:
    return (row.get("Q"), row.get("A")) if isinstance(row, dict) else "malformed_pair"
