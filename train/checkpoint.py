"""Checkpoints: DeepSpeed writes the shards, a marker written last makes them one atomic unit.

checkpoints/step-00000200/            weights, optimizer, data state, RNG (DeepSpeed's files)
checkpoints/step-00000200.json        the marker: without it the folder does not count
"""

from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from pipeline import storage
from pipeline.config import StrictConfig


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
    data: dict[str, Any]
    """State of the stream of batches: rows consumed and events of the mixture."""
    online: dict[str, Any] = Field(default_factory=dict)
    """State of the online mixing rule, if there is one."""


def tag_of(step: int) -> str:
    """Folder name of the checkpoint after `step` steps."""
    return f"step-{step:08d}"


def save(engine: Any, folder: str, marker: CheckpointMarker, keep: int) -> None:
    """Write a checkpoint from all ranks, mark it complete, remove the oldest beyond `keep`."""
    state = {"marker": marker.model_dump(), "torch_rng": torch.get_rng_state()}
    tag = tag_of(marker.step)
    engine.save_checkpoint(folder, tag=tag, client_state=state, save_latest=False)
    torch.distributed.barrier()
    if torch.distributed.get_rank() == 0:
        storage.write_atomic(f"{folder}/{tag}.json", marker.model_dump_json().encode())
        _remove_old(folder, marker.instance, keep)
    torch.distributed.barrier()


def load(engine: Any, folder: str, marker: CheckpointMarker) -> None:
    """Load a complete checkpoint into all ranks."""
    path, state = engine.load_checkpoint(folder, tag=tag_of(marker.step))
    assert path is not None, marker
    torch.set_rng_state(state["torch_rng"])


def list_complete(folder: str, instance: str) -> list[CheckpointMarker]:
    """Markers of this execution's complete checkpoints, oldest first."""
    markers = [
        CheckpointMarker.model_validate_json(storage.read_bytes(f"{folder}/{name}"))
        for name in storage.list_files(folder)
        if name.startswith("step-") and name.endswith(".json") and "/" not in name
    ]
    ours = [marker for marker in markers if marker.instance == instance]
    return sorted(ours, key=lambda marker: marker.step)


def remove_unmarked(folder: str) -> None:
    """Remove what saves that were cut off left behind."""
    root = Path(folder)
    for entry in root.glob("step-*"):
        if entry.is_dir() and not entry.with_name(f"{entry.name}.json").exists():
            storage.remove_tree(str(entry))


def _remove_old(folder: str, instance: str, keep: int) -> None:
    for marker in list_complete(folder, instance)[:-keep]:
        tag = tag_of(marker.step)
        storage.remove_file(f"{folder}/{tag}.json")  # first: it stops counting before it goes
        storage.remove_tree(f"{folder}/{tag}")
