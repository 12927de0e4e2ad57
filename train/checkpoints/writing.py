"""Writes checkpoints while training goes on.

    main thread   copy to the host │ training goes on ...        │ learns after a step what failed
    its thread                     │ data ─▶ sidecar ─▶ rank 0: all sidecars ─▶ marker, old ones go

No rank waits for another in its thread: rank 0 looks for the sidecars of the others, and a rank
that fails says so with the numbers that ranks exchange at every step.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from pipeline import storage
from pipeline.errors import InputError
from train.checkpoints.engine_state import Fragment
from train.checkpoints.marker import (
    CheckpointMarker,
    FragmentPlace,
    RankFile,
    data_file,
    list_complete,
    remove,
    sidecar_of,
    steps_to_remove,
    tag_of,
)
from train.checkpoints.reading import buffer_key, tensor_key

_POLL_S = 0.05
_MODE = 0o644


class CheckpointWriter:
    """One rank's part in writing checkpoints."""

    def __init__(self, folder: str, keep: int, keep_every: int) -> None:
        """Write below `folder`; keep the newest `keep`, and multiples of `keep_every` (0: none)."""
        self._folder, self._keep, self._keep_every = folder, keep, keep_every
        self._rank = torch.distributed.get_rank()
        self._copies: dict[str, torch.Tensor] = {}
        self._thread: threading.Thread | None = None
        self._is_given_up = threading.Event()
        self._step = -1
        self.failure: str | None = None
        """What kept this rank from writing its part of the save under way, if anything."""

    @property
    def is_busy(self) -> bool:
        """Whether this rank still has to do with a save: for rank 0, until its marker is there."""
        return self._thread is not None and self._thread.is_alive()

    def begin(
        self,
        marker: CheckpointMarker,
        fragments: Iterable[Fragment],
        extras: Mapping[str, torch.Tensor],
    ) -> None:
        """Copy the state to the host and start writing it; no other save may be under way.

        Args:
            marker: what the checkpoint is; its files are filled in.
            fragments: what this rank writes of the weights.
            extras: more tensors by key: buffers, random states.
        """
        assert not self.is_busy
        tensors, places = {}, []
        for fragment in fragments:
            for kind, tensor in fragment.tensors.items():
                tensors[tensor_key(fragment.name, fragment.start, kind)] = tensor
            places.append(
                FragmentPlace(
                    name=fragment.name,
                    shape=list(fragment.shape),
                    start=fragment.start,
                    num_elements=fragment.num_elements,
                )
            )
        copies = self._copy({**tensors, **extras})
        prefix = buffer_key("")
        buffers = [key.removeprefix(prefix) for key in extras if key.startswith(prefix)]
        self.failure, self._step = None, marker.step
        self._is_given_up.clear()
        self._thread = threading.Thread(
            target=self._write, args=(marker, copies, places, buffers), name="ipt-checkpoint"
        )
        self._thread.start()

    def join(self) -> None:
        """Wait until this rank has nothing left to write."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def give_up(self) -> None:
        """End the save under way without a marker; another rank could not write its part."""
        self._is_given_up.set()
        self.join()

    def remove_partial(self) -> None:
        """Remove what a save that was given up has written; for one rank, once all have ended."""
        remove(self._folder, self._step)

    def _copy(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The state in host memory that stays ours, pinned where that speeds up copying."""
        if self._copies.keys() != tensors.keys():
            is_pinned = torch.cuda.is_available()
            self._copies = {
                key: torch.empty(
                    each.shape, dtype=each.dtype, pin_memory=is_pinned and each.is_cuda
                )
                for key, each in tensors.items()
            }
        for key, tensor in tensors.items():
            self._copies[key].copy_(tensor, non_blocking=True)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return self._copies

    def _write(
        self,
        marker: CheckpointMarker,
        tensors: dict[str, torch.Tensor],
        places: list[FragmentPlace],
        buffers: list[str],
    ) -> None:
        root = Path(self._folder) / tag_of(marker.step)
        try:
            file = write_tensors(root, data_file(self._rank), tensors, places, buffers)
            sidecar = file.model_dump_json().encode()
            storage.write_atomic(str(root / sidecar_of(file.name)), sidecar)
            if self._rank == 0:
                self._complete(root, marker)
        except Exception as error:  # noqa: BLE001 - whatever it is, training goes on and says so
            self.failure = f"{type(error).__name__}: {error}"
            print(
                f"error: rank {self._rank} could not write the checkpoint of step {marker.step}: "
                f"{self.failure}; the checkpoint before it stays",
                file=sys.stderr,
                flush=True,
            )

    def _complete(self, root: Path, marker: CheckpointMarker) -> None:
        """Rank 0: once all have written theirs, mark the checkpoint and remove old ones."""
        sidecars = [root / sidecar_of(data_file(rank)) for rank in range(marker.num_ranks)]
        while not all(sidecar.exists() for sidecar in sidecars):
            if self._is_given_up.wait(_POLL_S):
                return
        hashes = {sidecar.name: storage.sha256_of(str(sidecar)) for sidecar in sidecars}
        complete = marker.model_copy(update={"sidecars": hashes})
        path = f"{self._folder}/{tag_of(marker.step)}.json"
        storage.write_atomic(path, complete.signed().model_dump_json().encode())
        try:
            steps = [each.step for each in list_complete(self._folder, marker.instance)]
            for step in steps_to_remove(steps, self._keep, self._keep_every):
                remove(self._folder, step)
        except (OSError, InputError) as error:  # the new one is complete all the same
            print(f"old checkpoints could not be removed: {error}", file=sys.stderr, flush=True)


def write_tensors(
    root: Path,
    name: str,
    tensors: dict[str, torch.Tensor],
    places: list[FragmentPlace],
    buffers: list[str],
) -> RankFile:
    """Write a rank's file so that it is on the disk, whole, when it has its name.

    Args:
        root: folder of the checkpoint.
        name: of the file.
        tensors: all on the host, none sharing memory with another.
        places: where which fragments stand.
        buffers: names of the buffers among the tensors.

    Returns:
        what the sidecar says.
    """
    from safetensors.torch import save_file

    path, partial = root / name, root / f".partial-{name}"
    try:
        save_file(tensors, partial)
        partial.chmod(_MODE)  # it is made for its owner alone, and others may have to resume
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        num_bytes, sha256 = partial.stat().st_size, storage.sha256_of(str(partial))
        partial.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()
    return RankFile(
        name=name, num_bytes=num_bytes, sha256=sha256, fragments=places, buffers=buffers
    )
