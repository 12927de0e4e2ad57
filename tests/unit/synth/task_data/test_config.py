"""Settings of the tasks stage: what is refused."""

import pytest

from pipeline.config import validate
from pipeline.errors import InputError
from synth.task_data.config import TasksConfig

SOURCE = {"inputs": ["a.jsonl"], "format": "squad"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sources": {"a/b": SOURCE}}, "'a/b' must be letters, digits, - and _ only"),
        ({"sources": {"dropped": SOURCE}}, "'dropped' is taken"),
        ({"sources": {"s": {"format": "squad"}}}, "either inputs or dataset"),
        ({"sources": {"s": SOURCE | {"dataset": {"path": "json"}}}}, "either inputs or dataset"),
        ({"sources": {"s": SOURCE | {"format": "quac"}}}, "'natural_instructions' or 'chains'"),
        ({"sources": {"s": SOURCE}, "max_examples": 0}, "max_examples = 0"),
    ],
)
def test_what_is_refused(values: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        validate(TasksConfig, values, "x.toml")
