"""What is mined from a text, and how much of it."""

import math
from typing import Literal

from pydantic import Field, field_validator

from pipeline.config import StrictConfig

RuleTask = Literal[
    "entailment",
    "cause_effect",
    "paraphrase",
    "example",
    "definition",
    "gap",
    "list",
    "summary",
    "title",
    "words_to_text",
    "completion",
]

# Tasks that rest on what the text says outright come before those that any text can give.
DEFAULT_WEIGHTS: dict[RuleTask, float] = {
    "entailment": 3,
    "cause_effect": 4,
    "paraphrase": 3,
    "example": 3,
    "definition": 3,
    "gap": 2,
    "list": 2,
    "summary": 1.5,
    "title": 1.5,
    "words_to_text": 1,
    "completion": 1,
}


class RulesConfig(StrictConfig):
    """Limits of the miner; see `synth.rules.mining`."""

    max_pairs: int = Field(default=6, ge=1)
    """Most pairs of one text."""
    max_per_task: int = Field(default=2, ge=1)
    """Most pairs of one task in one text."""
    tasks: dict[RuleTask, float] = Field(default={})
    """How readily a task is drawn among those that a text offers; a task left out is not mined;
    empty: all tasks, by the weights in `synth.rules.config`."""

    @field_validator("tasks")
    @classmethod
    def _weights(cls, tasks: dict[RuleTask, float]) -> dict[RuleTask, float]:
        for name, weight in tasks.items():
            if not 0 <= weight < math.inf:
                raise ValueError(f"weight of {name} ({weight}) must be a number of 0 or more")
        if tasks and not any(tasks.values()):
            raise ValueError("all tasks have weight 0; leave `tasks` empty to mine all of them")
        return tasks

    def weights(self) -> dict[RuleTask, float]:
        """The tasks to mine, each with its weight above 0."""
        chosen = self.tasks or DEFAULT_WEIGHTS
        return {task: weight for task, weight in chosen.items() if weight > 0}
