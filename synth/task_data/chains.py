"""Chains that a synthesizer wrote, so that a smaller one can be tuned on them.

Chain("sotu", [shot, shot without pairs, shot])  ─▶  two TaskExamples of the data set "sotu"
"""

from collections.abc import Iterator
from typing import Any

from pipeline.contracts import Pair
from synth.pairs import make_pair
from synth.task_data.examples import BadItem, Origin, TaskExample, lack_of, make_example, objects_in


def convert_chains(record: dict[str, Any], origin: Origin) -> Iterator[TaskExample | BadItem]:
    """One example for each shot; that of a raw one has no pair."""
    del origin
    source = record.get("source")
    if not isinstance(source, str):
        yield BadItem.of(lack_of("source", source), record)
        return
    for shot in objects_in(record.get("shots"), "shot"):
        if isinstance(shot, BadItem):
            yield shot
        else:
            pairs = map(_pair, objects_in(shot.get("pairs"), "pair"))
            yield make_example(source, shot.get("text"), pairs)


def _pair(values: dict[str, Any] | BadItem) -> Pair | str:
    if isinstance(values, BadItem):
        return values.reason
    options = values.get("options", ())
    if not isinstance(options, list | tuple):
        return "malformed_pair"
    found = [values.get("instruction"), values.get("response"), values.get("reasoning", "")]
    texts = [text for text in (*found, *options) if isinstance(text, str)]
    if len(texts) < len(found) + len(options):
        return "malformed_pair"
    instruction, response, reasoning, *choices = texts
    return make_pair(instruction, response, choices, reasoning)
