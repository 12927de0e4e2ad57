"""The formats of task data, by the name that a config gives them."""

from dataclasses import dataclass

from synth.task_data.chains import convert_chains
from synth.task_data.collection import convert_collection
from synth.task_data.config import FormatName
from synth.task_data.coqa import convert_coqa
from synth.task_data.examples import Converter
from synth.task_data.natural_instructions import convert_natural_instructions
from synth.task_data.squad import convert_squad


@dataclass(frozen=True)
class TaskFormat:
    """How records of a format are read, and for people, the fields they must have."""

    convert: Converter
    wanted: str


FORMATS: dict[FormatName, TaskFormat] = {
    "collection": TaskFormat(convert_collection, "context and QA_list (a list of {Q, A})"),
    "squad": TaskFormat(
        convert_squad,
        "data.paragraphs (context, qas.question, qas.answers.text), or flat: context, question "
        "and answers.text",
    ),
    "coqa": TaskFormat(
        convert_coqa,
        "data (story, questions.input_text, answers.input_text), or flat: story, questions and "
        "answers.input_text",
    ),
    "natural_instructions": TaskFormat(
        convert_natural_instructions, "Definition and Instances (input, output)"
    ),
    "chains": TaskFormat(
        convert_chains, "source and shots (text, pairs.instruction, pairs.response)"
    ),
}
