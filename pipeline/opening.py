"""How a stage's folder is opened: a new one, one to go on with, or one whose inputs have grown.

    stage.json says        this run wants         then
    ──────────────────     ──────────────────     ─────────────────────────────────────────
    (nothing)              a                      the folder is this run's
    a                      a                      go on after the committed parts
    a, of files 1 to 5     a, of files 1 to 7     `--allow-append`: go on, with more parts
    a                      b                      refused, field by field

What has grown keeps its `instance`, so that the next stage knows its own committed parts for good.
"""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline import storage
from pipeline.errors import InputError, StaleStageError
from pipeline.stage import (
    MANIFEST_FILE,
    STAGE_FILE,
    StageFolder,
    StageIdentity,
    find_identity,
    find_manifest,
    instance_of,
    is_sidecar,
)

_ABSENT = "(absent)"


def inputs_have_grown(found: StageIdentity, wanted: StageIdentity) -> bool:
    """Whether the inputs that differ are stages of ours to which parts were added."""
    if found.model_copy(update={"inputs": wanted.inputs}).fields() != wanted.fields():
        return False
    return found.inputs.keys() == wanted.inputs.keys() and all(
        instance_of(found.inputs[name]) == instance_of(wanted.inputs[name])
        for name in wanted.inputs
    )


@dataclass(frozen=True)
class Growth:
    """How the inputs of a stage may have grown since its folder was written."""

    is_allowed: bool = False
    """Whether the user agrees to it: `--allow-append`."""
    has_grown: Callable[[StageIdentity, StageIdentity], bool] = inputs_have_grown
    """Whether the second identity is the first one with more at its end."""
    rule: str = "parts may be added to the stages it reads, which must not have been made anew"
    """What may be added, for people."""
    when_complete: bool = True
    """Whether a complete stage can go on, too."""


def open_stage(
    folder: str,
    stage: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    growth: Growth | None = None,
) -> StageFolder:
    """Open a stage's folder for writing: a new one, or one with work of the same identity.

    A folder whose inputs have grown is of the new identity only after `StageFolder.adopt`.

    Args:
        folder: path or URI of the stage's folder.
        stage: the stage's name.
        config: every setting that decides the output; JSON values.
        inputs: name of each input and the key of its present state.
        growth: how inputs may have grown; None: not at all.

    Raises:
        StaleStageError: the folder holds work of another identity; names the fields that differ.
    """
    wanted = StageIdentity(
        stage=stage,
        # Through JSON, so that what is compared is what was stored (tuples become lists).
        config=json.loads(json.dumps(config)),
        inputs=dict(inputs),
        instance=uuid.uuid4().hex[:12],
    )
    stage_file = storage.join(folder, STAGE_FILE)
    found = find_identity(folder)
    if found is None and _has_work(folder):
        raise InputError(
            f"{folder} holds parts but no {STAGE_FILE} that says whose they are, as after a "
            f"removal that was cut off; remove {folder}"
        )
    data = wanted.model_dump_json(indent=1).encode()
    if found is None:
        if storage.create(stage_file, data):
            return StageFolder(folder, wanted)
        found = find_identity(folder)  # another run was a moment faster
        assert found is not None
    found = _settled(folder, found, wanted, growth)
    if found.fingerprint() == wanted.fingerprint():
        return StageFolder(folder, found)
    if _has_work(folder) or not storage.is_local(folder):
        return _open_grown(folder, found, wanted, growth)
    # A start that failed before its first part binds nobody; on an object store, where nothing
    # keeps two runs apart, it may be another run whose engines are starting.
    storage.write_atomic(stage_file, data)
    return StageFolder(folder, wanted)


def _settled(
    folder: str, found: StageIdentity, wanted: StageIdentity, growth: Growth | None
) -> StageIdentity:
    """What a folder is, after a growth that was cut off and cannot go on has been taken back."""
    stage = StageFolder(folder, found)
    before = stage.before_growth()
    if before is None:
        return found
    is_cut_off = found.fingerprint() == before.fingerprint()
    goes_on = found.fingerprint() == wanted.fingerprint() or (
        growth is not None and growth.has_grown(found, wanted)
    )
    is_undone = before.fingerprint() == wanted.fingerprint()
    is_another = growth is not None and growth.is_allowed and growth.has_grown(before, wanted)
    if is_cut_off or (not goes_on and (is_undone or is_another)):
        stage.revert()
        return before
    return found


def _open_grown(
    folder: str, found: StageIdentity, wanted: StageIdentity, growth: Growth | None
) -> StageFolder:
    """Open a folder whose inputs have grown.

    Raises:
        StaleStageError: they have not, may not, or more than the inputs differs.
    """
    has_grown = growth is not None and growth.has_grown(found, wanted)
    remedy = f"remove {folder}, undo the change, or choose another run.dir"
    if growth is None:
        pass
    elif has_grown and not growth.when_complete and find_manifest(folder) is not None:
        remedy = (
            f"something was only added, but a complete stage of this kind does not go on: copy the "
            f"folders before it to another run.dir and go on there, or remove {folder}"
        )
    elif has_grown and growth.is_allowed:
        return StageFolder(folder, wanted.model_copy(update={"instance": found.instance}))
    elif has_grown:
        remedy = (
            f"something was only added: --allow-append keeps what is written and goes on; "
            f"or {remedy}"
        )
    elif growth.is_allowed:
        remedy = f"--allow-append: {growth.rule}; {remedy}"
    raise _stale(folder, found, wanted, remedy, has_grown)


def _stale(
    folder: str, found: StageIdentity, wanted: StageIdentity, remedy: str, has_grown: bool
) -> StaleStageError:
    """The error that lists each differing field with both values."""
    ours, theirs = wanted.fields(), found.fields()
    names = [
        name
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name, _ABSENT) != theirs.get(name, _ABSENT)
    ]
    lines = [
        f"{name}: the folder has {theirs.get(name, _ABSENT)!r}, this run wants "
        f"{ours.get(name, _ABSENT)!r}"
        for name in names
    ]
    return StaleStageError(
        f"{folder} was written with other settings or inputs and is not touched:\n  "
        + "\n  ".join(lines)
        + f"\n{remedy}",
        fields=names,
        has_grown=has_grown,
    )


def _has_work(folder: str) -> bool:
    """Whether a folder holds a manifest, a committed part or a complete checkpoint."""
    names = storage.list_files(folder)
    return any(is_sidecar(name) or _is_marker(name) or name == MANIFEST_FILE for name in names)


def _is_marker(name: str) -> bool:
    basename = name.rpartition("/")[2]
    return basename.startswith("step-") and basename.endswith(".json")
