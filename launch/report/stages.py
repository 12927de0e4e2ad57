"""How far each stage of a run is and what it counted, complete or not."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from launch.stages import STAGES
from launch.summary import status_lines
from pipeline.run_folder import RunFolder
from pipeline.stage import PartCommit, find_identity, find_manifest, read_commits, read_manifest


@dataclass(frozen=True)
class StageFigures:
    """One stage, by its committed parts."""

    name: str
    folder: str
    state: str
    """`complete`, `in progress` or `not begun`."""
    detail: str
    """What `ipt status` says after the state."""
    parts: Mapping[str, PartCommit] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether the stage has its manifest."""
        return self.state == "complete"

    @property
    def records_in(self) -> int:
        """Records read by the committed parts."""
        return sum(commit.records_in for commit in self.parts.values())

    @property
    def records_out(self) -> int:
        """Records written by the committed parts."""
        return sum(commit.records_out for commit in self.parts.values())

    @cached_property
    def dropped(self) -> Counter[str]:
        """Dropped records by reason."""
        total: Counter[str] = Counter()
        for commit in self.parts.values():
            total.update(commit.dropped)
        return total

    @cached_property
    def counts(self) -> Counter[str]:
        """All counts, summed over the committed parts."""
        total: Counter[str] = Counter()
        for commit in self.parts.values():
            total.update(commit.counts)
        return total

    def below(self, prefix: str) -> Counter[str]:
        """Counts whose names begin with `prefix` and a dot, by what follows."""
        head = f"{prefix}."
        return Counter(
            {
                name.removeprefix(head): count
                for name, count in self.counts.items()
                if name.startswith(head)
            }
        )


def gather_stages(folder: RunFolder) -> dict[str, StageFigures]:
    """All stages of a run by name, in order.

    Raises:
        InputError: a stage was written under another contract version.
    """
    said = dict(line.split(maxsplit=1) for line in status_lines(folder, STAGES))
    stages = {}
    for stage in STAGES:
        path = stage.folder_of(folder)
        state, _, detail = said[stage.name].partition(": ")
        if find_manifest(path) is not None:
            read_manifest(path)  # refuses another contract version
        identity = find_identity(path)
        stages[stage.name] = StageFigures(
            name=stage.name,
            folder=path,
            state=state,
            detail=detail,
            parts=read_commits(path),
            config=identity.config if identity is not None else {},
        )
    return stages
