"""What may be added to the inputs of an ingest that has begun."""

from typing import Any

from pipeline.opening import Growth
from pipeline.stage import StageIdentity

_RULE = (
    "new sources may be added, and to a source new files whose paths sort after all of those it "
    "had, by what `inputs` named before or by more that it names now"
)


def ingest_growth(is_allowed: bool) -> Growth:
    """How the inputs of ingest may grow."""
    return Growth(is_allowed, sources_have_grown, _RULE)


def sources_have_grown(found: StageIdentity, wanted: StageIdentity) -> bool:
    """Whether every source and file that was there is as it was.

    The files of a source are numbered in the order of their paths, so one that sorts before
    another moves it. They are told apart by name and size: one like another that was there might
    have taken its place.
    """
    before, after = found.config["sources"], wanted.config["sources"]
    if not before.keys() <= after.keys() or found.version != wanted.version:
        return False
    added = wanted.inputs.items() - found.inputs.items()
    known = {(name.rpartition("/")[0], file) for name, file in found.inputs.items()}
    return (
        found.config | {"sources": {}} == wanted.config | {"sources": {}}
        and all(_goes_on(source, after[name]) for name, source in before.items())
        and found.inputs.items() <= wanted.inputs.items()
        and all("/" in name for name, _ in added)
        and known.isdisjoint((name.rpartition("/")[0], file) for name, file in added)
    )


def _goes_on(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether the settings of a source are the same, but for more paths."""
    more = set(after["inputs"]) >= set(before["inputs"])
    return more and before | {"inputs": ()} == after | {"inputs": ()}
