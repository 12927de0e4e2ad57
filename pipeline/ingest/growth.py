"""What may be added to the inputs of an ingest that has begun, and taking back what was."""

from collections import Counter
from typing import Any

from pipeline.opening import Growth
from pipeline.stage import StageFolder, StageIdentity

RULE = (
    "new sources may be added, and to a source new files whose paths sort after all of those it had"
)


def ingest_growth(is_allowed: bool) -> Growth:
    """How the inputs of ingest may grow."""
    return Growth(is_allowed, sources_have_grown, RULE)


def sources_have_grown(found: StageIdentity, wanted: StageIdentity) -> bool:
    """Whether every source and file that was there is as it was; `inputs` may name them anew.

    The files of a source are numbered in the order of their paths, so one that sorts before
    another moves it.
    """
    known = found.config["sources"].keys()
    sources = wanted.config["sources"]
    if not known <= sources.keys():
        return False
    as_before = {name: sources[name] for name in known}
    return (
        _without_paths(found.config) == _without_paths(wanted.config | {"sources": as_before})
        and found.version == wanted.version
        and found.inputs.items() <= wanted.inputs.items()
        and all("/" in name for name in wanted.inputs.keys() - found.inputs.keys())
    )


def _without_paths(config: dict[str, Any]) -> dict[str, Any]:
    """The settings that decide what becomes of a record."""
    sources = {
        name: {setting: value for setting, value in source.items() if setting != "inputs"}
        for name, source in config["sources"].items()
    }
    return config | {"sources": sources}


def take_back(stage: StageFolder, before: StageIdentity) -> None:
    """Leave only parts that hold nothing of files added since `before`.

    So a damaged file among those added costs nothing that was there: mended, it may be added again.
    """
    known = Counter(name.rpartition("/")[0] for name in before.inputs)
    stage.revert(
        [
            commit
            for part, commit in stage.committed().items()
            if commit.cursor["file"] >= known[part.rpartition("/")[0]]
        ]
    )
