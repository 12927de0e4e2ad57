"""Settings of the `tasks` stage."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config import StrictConfig
from pipeline.decontamination.config import DecontaminationConfig
from pipeline.ingest.config import DatasetConfig

FormatName = Literal["collection", "squad", "coqa", "natural_instructions", "chains"]


class TaskSourceConfig(StrictConfig):
    """Task data of one format."""

    inputs: tuple[str, ...] = ()
    """Files, folders or globs, local or any fsspec URI, or `package://NAME/PATH`. `.json` files
    are read by name or by a glob that ends in `.json`, not as part of a folder. For `chains` also
    the folder of a complete stage, such as a run's `filtered/`."""
    dataset: DatasetConfig | None = None
    """A data set to stream instead of `inputs`."""
    format: FormatName
    """`collection`: ft-instruction-synthesizer-collection (`context`, `QA_list`, `rc_name`).
    `squad`, `coqa`: the files as published, or flat records as on the Hugging Face hub; the data
    set is named as the source. `natural_instructions`: Super-NaturalInstructions task files; the
    data set is named as the file. `chains`: chains of this project."""

    @model_validator(mode="after")
    def _one_origin(self) -> "TaskSourceConfig":
        if bool(self.inputs) == (self.dataset is not None):
            raise ValueError("give either inputs or dataset, and not both")
        return self


class TasksConfig(StrictConfig):
    """All task data to tune on."""

    sources: dict[str, TaskSourceConfig] = Field(default_factory=dict)
    """Task data by name: letters, digits, - and _."""
    max_examples: int = Field(default=10_000, ge=1)
    """Examples of a data set; of more, those with the most pairs are taken."""
    max_pairs: int = Field(default=0, ge=0)
    """Pairs of an example; of more, the first are taken. 0: all."""
    leave_out: tuple[str, ...] = ()
    """Data sets to leave out, by name or pattern (`*`, `?`); case, `-` and `_` do not matter. It
    also goes by where an example says it is from: `Source` of Super-NaturalInstructions, `source`
    of CoQA. What each one left out is counted, and so is one that matched nothing."""
    examples_per_part: int = Field(default=4096, ge=1)
    """Examples of a part, the unit of commit."""
    decontamination: DecontaminationConfig = DecontaminationConfig()
    """Evaluation sets; an example that holds a piece of one is dropped as `contaminated.SET`."""

    @field_validator("sources")
    @classmethod
    def _plain_names(cls, sources: dict[str, TaskSourceConfig]) -> dict[str, TaskSourceConfig]:
        for name in sources:
            if name == "dropped":
                raise ValueError("source name 'dropped' is taken by the folder of dropped records")
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"source name {name!r} must be letters, digits, - and _ only")
        return sources
