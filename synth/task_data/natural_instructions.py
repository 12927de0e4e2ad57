"""Super-NaturalInstructions: one file a task, whose definition is the instruction of every pair.

    task1_find.json  {"Definition": ["Find it."], "Source": ["squad"], "Instances":
                      [{"input": "Here it is.", "output": ["Here"]}]}
       ─▶  TaskExample("task1_find", "Here it is.", (Pair("Find it.", "Here"),))

The data set is the task, by its file's name: what one tuning sequence holds then has one
instruction. `Source`, the data set that the task was made from, is what `leave_out` goes by too.
Of several outputs the first counts. Two instances with one input ask the same of it, so they are
one example, and the second pair is dropped as `duplicate_question`.
"""

from collections.abc import Iterator
from typing import Any

from synth.task_data.examples import (
    BadItem,
    Origin,
    TaskExample,
    lack_of,
    make_example,
    objects_in,
    text_of,
)


def convert_natural_instructions(
    record: dict[str, Any], origin: Origin
) -> Iterator[TaskExample | BadItem]:
    """One example for each instance of a task."""
    definition = text_of(record.get("Definition"))
    if not definition:
        yield BadItem.of(lack_of("definition", record.get("Definition")), record)
        return
    sources = record.get("Source")
    listed = sources if isinstance(sources, list) else [sources]
    origins = [each for each in listed if isinstance(each, str)]
    for instance in objects_in(record.get("Instances"), "instance"):
        if isinstance(instance, BadItem):
            yield instance
        else:
            asked = [(definition, instance.get("output"))]
            yield make_example(_task_name(origin), instance.get("input"), asked, origins)


def _task_name(origin: Origin) -> str:
    if origin.file.startswith("dataset:"):
        return origin.source
    return origin.file.rpartition("/")[2].partition(".")[0]
