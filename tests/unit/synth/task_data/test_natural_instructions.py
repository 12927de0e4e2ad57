"""Super-NaturalInstructions: a task's file as examples."""

import pytest

from synth.task_data.examples import BadItem, Origin, TaskExample
from synth.task_data.natural_instructions import convert_natural_instructions

ORIGIN = Origin("ni", "/data/tasks/task002_quoref_answer.json")


def convert(record: dict, origin: Origin = ORIGIN) -> list[TaskExample | BadItem]:
    return list(convert_natural_instructions(record, origin))


def task(*instances: object, **fields: object) -> dict:
    return {
        "Definition": ["Answer it."],
        "Source": ["quoref"],
        "Instances": list(instances),
    } | fields


def test_one_example_an_instance() -> None:
    items = convert(
        task({"input": "Passage 1.", "output": ["a", "b"]}, {"input": "Passage 2.", "output": "c"})
    )
    assert all(isinstance(item, TaskExample) for item in items)
    assert [(item.dataset, item.context, item.origins) for item in items] == [
        ("task002_quoref_answer", "Passage 1.", ("quoref",)),
        ("task002_quoref_answer", "Passage 2.", ("quoref",)),
    ]
    pairs = [pair for item in items for pair in item.pairs]
    assert [(pair.instruction, pair.response) for pair in pairs] == [
        ("Answer it.", "a"),
        ("Answer it.", "c"),
    ]


def test_older_files_and_data_sets() -> None:
    record = task({"input": "P.", "output": ["a"]}, Definition="Do it.", Source="squad")
    (item,) = convert(record, Origin("ni", "dataset:org/name"))
    assert isinstance(item, TaskExample)
    assert (item.dataset, item.origins, item.pairs[0].instruction) == ("ni", ("squad",), "Do it.")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"Instances": [{"input": "P.", "output": ["a"]}]}, "missing_definition"),
        (task(Definition=[]), "malformed_definition"),
        ({"Definition": ["Do it."]}, "missing_instances"),
        (task("P."), "malformed_instance"),
        (task({"output": ["a"]}), "missing_context"),
        (task({"input": "", "output": ["a"]}), "empty_context"),
    ],
)
def test_bad_tasks(record: dict, reason: str) -> None:
    (item,) = convert(record)
    assert isinstance(item, BadItem)
    assert item.reason == reason


def test_an_instance_without_output_has_no_pair() -> None:
    (item,) = convert(task({"input": "P.", "output": []}))
    assert isinstance(item, TaskExample)
    assert item.pairs == ()
    assert dict(item.dropped_pairs) == {"empty_answer": 1}
