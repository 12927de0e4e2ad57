"""The parts of a run's TOML that a training rank reads, and the rows that follow from them."""

from dataclasses import dataclass

from pipeline.config import read_toml, validate
from pipeline.errors import InputError
from pipeline.loader.packed import open_rows
from pipeline.loader.run import RunRows
from pipeline.mixture.config import MixtureConfig
from pipeline.run_folder import RunConfig, RunFolder
from train.config import TrainConfig


@dataclass(frozen=True)
class Sections:
    """The parts of a run's config that training needs."""

    run: RunConfig
    train: TrainConfig
    mixture: MixtureConfig

    @property
    def folder(self) -> RunFolder:
        """Paths of the run."""
        return RunFolder(self.run.dir)


def load_sections(path: str, overrides: list[str]) -> Sections:
    """Read the sections `run`, `train` and `mixture` of a run's TOML.

    Raises:
        InputError: the file, an override or a value is not usable.
    """
    values = read_toml(path, overrides)
    for required in ("run", "train"):
        if required not in values:
            raise InputError(f"config {path}: the section [{required}] is missing")
    return Sections(
        run=validate(RunConfig, values["run"], f"{path} [run]"),
        train=validate(TrainConfig, values["train"], f"{path} [train]"),
        mixture=validate(MixtureConfig, values.get("mixture", {}), f"{path} [mixture]"),
    )


def rows_of(sections: Sections) -> RunRows:
    """Which rows the run sees.

    Raises:
        InputError: packing is not complete.
    """
    train = sections.train
    return RunRows(
        open_rows(sections.folder.rows),
        sections.mixture,
        train.num_steps * train.rows_per_batch,
        sections.run.seed,
        allow_append=sections.run.allow_append,
    )
