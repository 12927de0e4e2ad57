"""The section `[compare]` of an experiment's TOML; all its other sections are those of a run."""

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from pipeline.config import StrictConfig

_TAKEN = ("heldout", "tasks", "scores")


class HeldoutTextsConfig(StrictConfig):
    """Texts that no arm is trained on."""

    inputs: tuple[str, ...] = Field(min_length=1)
    """Files, folders or globs, as in `ingest.sources.NAME.inputs`; they may lie among the inputs of
    the arms, which then leave them out as contaminated."""
    text_field: str = "text"
    """Field that holds the text."""
    split_chars: int = Field(default=0, ge=0)
    """Longest passage, in characters; 0: texts stay whole."""


class ContinuationConfig(StrictConfig):
    """A task made from the held-out texts: which of four sentences goes on with a passage."""

    num_questions: int = Field(default=400, ge=4, multiple_of=4)
    """Questions, at most: four of them share their four endings."""
    seed: int = 0
    """Decides which passages are asked about."""


class CompareConfig(StrictConfig):
    """What is compared, and by what."""

    dir: str
    """Folder of the experiment, on a file system; a relative one starts at the working
    directory."""
    seeds: tuple[int, ...] = (1, 2, 3)
    """Each arm is trained once with each, as `run.seed`."""
    reference: str = "vanilla"
    """Arm that the others are compared with."""
    arms: dict[str, dict[str, Any]] = Field(min_length=2)
    """Settings of each arm over those of the file: `ingest`, `synth`, `filter`, `mixture`, `pack`,
    which decide its data. What decides the budget and the model is the same for all."""
    heldout: HeldoutTextsConfig
    """Texts that the models are evaluated on."""
    continuation: ContinuationConfig | None = None
    """Add a task made from these texts; none: `eval.tasks` alone."""

    @field_validator("dir")
    @classmethod
    def _folder(cls, folder: str) -> str:
        folder = folder.removeprefix("file://")
        if "://" in folder:
            raise ValueError("must be a folder on a file system, where training can append")
        return str(Path(folder).expanduser().absolute())

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds:
            raise ValueError("needs at least one seed, and three for an interval worth having")
        if len(set(seeds)) < len(seeds):
            raise ValueError("names a seed twice, which would count one training as two")
        return seeds

    @model_validator(mode="after")
    def _named_arms(self) -> "CompareConfig":
        for name in self.arms:
            if name in _TAKEN or not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(
                    f"arm {name!r} must be letters, digits, - and _ only, and none of "
                    f"{', '.join(_TAKEN)}, which are folders of the experiment"
                )
        if self.reference not in self.arms:
            raise ValueError(
                f"reference {self.reference!r} is none of the arms: {', '.join(self.arms)}"
            )
        return self
