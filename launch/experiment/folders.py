"""Where an experiment keeps what: every folder below that trains or packs is a run's folder.

DIR/heldout/            documents, rows: the texts that all models are evaluated on
DIR/tasks/              the task made from them
DIR/scores/             scores on tasks, a file each
DIR/ARM/data/           documents, augmented, filtered, rows; links where another arm has them
DIR/ARM/seed-N/         rows (a link), train, hf, heldout.json
DIR/comparison.json     all figures; comparison.html shows them
"""

import os
from dataclasses import dataclass
from pathlib import Path

from pipeline import storage
from pipeline.errors import InputError
from pipeline.run_folder import RunFolder


@dataclass(frozen=True)
class ExperimentFolder:
    """Paths below an experiment's folder."""

    root: str

    @property
    def heldout(self) -> RunFolder:
        """The run that packs the held-out texts."""
        return RunFolder(storage.join(self.root, "heldout"))

    @property
    def tasks(self) -> str:
        """Task files that were made for this experiment."""
        return storage.join(self.root, "tasks")

    @property
    def scores(self) -> str:
        """Scores on tasks, a file each, that are never measured twice."""
        return storage.join(self.root, "scores")

    @property
    def comparison(self) -> str:
        """All figures, as JSON."""
        return storage.join(self.root, "comparison.json")

    @property
    def page(self) -> str:
        """All figures, as a page for people."""
        return storage.join(self.root, "comparison.html")

    def data(self, arm: str) -> RunFolder:
        """The run that makes an arm's rows."""
        return RunFolder(storage.join(self.root, arm, "data"))

    def training(self, arm: str, seed: int) -> RunFolder:
        """The run that trains on an arm's rows with one seed."""
        return RunFolder(storage.join(self.root, arm, f"seed-{seed}"))


def link_folder(link: str, target: str) -> None:
    """Make a folder the same as another one, by a relative link, so that the whole can be moved.

    Raises:
        InputError: the folder holds work of its own.
    """
    path = Path(link)
    wanted = os.path.relpath(target, path.parent)
    if path.is_symlink() and os.readlink(path) == wanted:
        return
    if path.exists() and not path.is_symlink():
        raise InputError(
            f"{link} was made with settings of its own, but by the present ones it is the same as "
            f"{target}; remove {link}, or undo the change"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(wanted)


def own_folder(folder: str) -> None:
    """Remove the link that a folder was while its settings were another arm's, too."""
    if Path(folder).is_symlink():
        Path(folder).unlink()
