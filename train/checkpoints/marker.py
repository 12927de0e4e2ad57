"""What a complete checkpoint is, which there are, and whether their files are whole."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from pipeline import storage
from pipeline.config import StrictConfig
from pipeline.errors import InputError
from pipeline.names import FileName, read_record, require_inside

_ASIDE = "damaged-"


class FragmentPlace(StrictConfig):
    """Part of a weight, flattened."""

    name: str
    """Of the weight, as in the Hugging Face model."""
    shape: list[int]
    """Of the whole weight."""
    start: int
    """First element."""
    num_elements: int
    """Elements from there on."""


class RankFile(StrictConfig):
    """What one rank wrote; its sidecar, written after the data."""

    name: FileName
    """File of the tensors, in the checkpoint's folder."""
    num_bytes: int
    """Its size."""
    sha256: str
    """Its hash, in hex."""
    fragments: list[FragmentPlace]
    """What of which weights it holds."""
    buffers: list[str] = Field(default_factory=list)
    """Buffers of the model that it holds whole."""


class CheckpointMarker(StrictConfig):
    """What a complete checkpoint holds."""

    step: int
    """Steps done."""
    rows: int
    """Rows of the run consumed."""
    num_ranks: int
    """Ranks that wrote it."""
    instance: str
    """Execution of the training stage it belongs to."""
    code_version: str
    """Version of this package that wrote it."""
    config: dict[str, Any] = Field(default_factory=dict)
    """All settings of training."""
    optimizer_steps: int
    """Steps that changed weights: those passed over are not among them."""
    data: dict[str, Any]
    """State of the stream of batches: rows consumed and events of the mixture."""
    online: dict[str, Any] = Field(default_factory=dict)
    """State of the online mixing rule, if there is one."""
    uncertainty: list[float] = Field(default_factory=list)
    """Log-variance of each source's loss, if these are learned."""
    anomalies: dict[str, Any] = Field(default_factory=dict)
    """State of the watch over the losses."""
    sidecars: dict[FileName, str] = Field(default_factory=dict)
    """Names of the ranks' sidecars, by rank, and the sha256 of each."""
    digest: str = ""
    """Sha256 of all the rest."""

    def signed(self) -> "CheckpointMarker":
        """The same with its digest."""
        return self.model_copy(update={"digest": self._digest()})

    def is_whole(self) -> bool:
        """Whether it is as it was signed."""
        return self.digest == self._digest()

    def _digest(self) -> str:
        return hashlib.sha256(self.model_dump_json(exclude={"digest"}).encode()).hexdigest()


def tag_of(step: int) -> str:
    """Folder name of the checkpoint after `step` steps."""
    return f"step-{step:08d}"


def step_of(marker: Path) -> int:
    """The step that a marker's name says."""
    return int(marker.stem.removeprefix("step-"))


def data_file(rank: int) -> str:
    """Name of the file of tensors of a rank."""
    return f"rank-{rank:05d}.safetensors"


def sidecar_of(name: str) -> str:
    """Name of the sidecar of a file of tensors."""
    return str(Path(name).with_suffix(".json"))


def read_sidecar(path: Path) -> RankFile:
    """What a sidecar says.

    Raises:
        InputError: it is none, or names a file elsewhere.
    """
    require_inside(str(path.parent), [path.name])
    file = read_record(RankFile, str(path), "take another checkpoint")
    require_inside(str(path.parent), [file.name])
    return file


def list_complete(folder: str, instance: str) -> list[CheckpointMarker]:
    """Markers of this execution's complete checkpoints, oldest first; damaged ones are left out.

    Raises:
        InputError: a marker is none of this version's.
    """
    markers = [read_marker(path) for path in _marker_files(folder)]
    ours = [marker for marker in markers if marker is not None and marker.instance == instance]
    return sorted(ours, key=lambda marker: marker.step)


def list_damaged_markers(folder: str) -> list[Path]:
    """Markers that cannot be read, or were changed since they were written."""
    return [path for path in _marker_files(folder) if path.exists() and read_marker(path) is None]


def _marker_files(folder: str) -> list[Path]:
    return sorted(path for path in Path(folder).glob("step-*.json") if path.is_file())


def read_marker(path: Path) -> CheckpointMarker | None:
    """A marker; None if it is damaged, or gone.

    Raises:
        InputError: it is whole, and of another version.
    """
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    try:
        marker = CheckpointMarker.model_validate(values)
    except ValidationError as error:
        if isinstance(values, dict) and "digest" in values:
            return None
        raise InputError(
            f"{path} is not a checkpoint of this version of instruct-pretrain; resume with the "
            f"version that wrote it, or remove {path.parent}"
        ) from error
    return marker if marker.is_whole() else None


def find_damage(
    folder: str, marker: CheckpointMarker, share: int = 0, num_shares: int = 1
) -> str | None:
    """What is wrong with a checkpoint's files, if anything; reads all of this share of them.

    Args:
        folder: of all checkpoints.
        marker: of this one.
        share: number of this share; ranks check different files.
        num_shares: how many there are.
    """
    try:
        return _find_damage(Path(folder) / tag_of(marker.step), marker, share, num_shares)
    except OSError as error:
        return f"{error.filename} cannot be read ({error.strerror})"
    except InputError as error:
        return str(error)


def _find_damage(root: Path, marker: CheckpointMarker, share: int, num_shares: int) -> str | None:
    for name, sha256 in list(marker.sidecars.items())[share::num_shares]:
        sidecar = root / name
        if not sidecar.exists():
            return f"{sidecar} is missing"
        if storage.sha256_of(str(sidecar)) != sha256:
            return f"{sidecar} does not have the content that was written (sha256)"
        file = read_sidecar(sidecar)
        path = root / file.name
        if not path.exists():
            return f"{path} is missing"
        if path.stat().st_size != file.num_bytes:
            return f"{path} has {path.stat().st_size} bytes instead of {file.num_bytes}"
        if storage.sha256_of(str(path)) != file.sha256:
            return f"{path} does not have the content that was written (sha256)"
    return None


def remove_unmarked(folder: str) -> None:
    """Remove what saves that were cut off left behind."""
    for entry in Path(folder).glob("step-*"):
        if entry.is_dir() and not entry.with_name(f"{entry.name}.json").exists():
            storage.remove_tree(str(entry))


def remove(folder: str, step: int) -> None:
    """Remove a checkpoint; it stops counting before its files go."""
    storage.remove_file(f"{folder}/{tag_of(step)}.json")
    storage.remove_tree(f"{folder}/{tag_of(step)}")


def set_aside(folder: str, step: int) -> None:
    """Let a checkpoint that cannot be used no longer count, without losing what there is of it."""
    root = Path(folder)
    for path in (root / f"{tag_of(step)}.json", root / tag_of(step)):
        if path.exists():
            aside = path.with_name(f"{_ASIDE}{path.name}")
            if aside.is_dir():
                storage.remove_tree(str(aside))
            path.replace(aside)


def steps_to_remove(steps: list[int], keep: int, keep_every: int) -> list[int]:
    """Which checkpoints go: all but the newest `keep` and multiples of `keep_every` (0: none)."""
    return [step for step in sorted(steps)[:-keep] if not (keep_every and step % keep_every == 0)]
