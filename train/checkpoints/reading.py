"""Ranges of weights out of a checkpoint, whoever wrote which part of them."""

import bisect
import math
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import torch

from train.checkpoints.engine_state import WEIGHT
from train.checkpoints.marker import CheckpointMarker, read_sidecar, tag_of


class _Piece(NamedTuple):
    start: int
    end: int
    file: str


def tensor_key(name: str, start: int, kind: str) -> str:
    """Name of a fragment's tensor in its file."""
    return f"{name}@{start}/{kind}"


def buffer_key(name: str) -> str:
    """Name of a buffer in its file."""
    return f"buffer/{name}"


def random_key(device: str) -> str:
    """Name of a random state in its file."""
    return f"random/{device}"


class CheckpointReader:
    """Reads weights and optimizer state by range; files are mapped, not loaded."""

    def __init__(self, folder: str, marker: CheckpointMarker) -> None:
        """Index a complete checkpoint.

        Args:
            folder: of all checkpoints.
            marker: of this one.
        """
        self._root = Path(folder) / tag_of(marker.step)
        self._files = [read_sidecar(self._root / name) for name in marker.sidecars]
        # All at once: files that a training under way removes stay readable while they are open.
        self._open = {file.name: _open(self._root / file.name) for file in self._files}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._pieces: dict[str, list[_Piece]] = defaultdict(list)
        for file in self._files:
            for place in file.fragments:
                self.shapes[place.name] = tuple(place.shape)
                self._pieces[place.name].append(
                    _Piece(place.start, place.start + place.num_elements, file.name)
                )
        for pieces in self._pieces.values():
            pieces.sort()

    def read(self, name: str, kind: str, start: int, num_elements: int) -> torch.Tensor:
        """Elements `start` to `start + num_elements` of a flattened tensor, fp32 on the CPU."""
        end = start + num_elements
        pieces = self._pieces[name]
        first = bisect.bisect_right(pieces, start, key=lambda piece: piece.start) - 1
        parts, at = [], start
        for piece in pieces[max(0, first) :]:
            if at >= end:
                break
            assert piece.start <= at, f"{name}: elements {at} to {piece.start} are nowhere"
            stop = min(end, piece.end)
            tensor = self._open[piece.file].get_slice(tensor_key(name, piece.start, kind))
            parts.append(tensor[at - piece.start : stop - piece.start])
            at = stop
        assert at == end, f"{name}: elements {at} to {end} are nowhere"
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def weight(self, name: str) -> torch.Tensor:
        """A whole weight in its shape, fp32."""
        shape = self.shapes[name]
        return self.read(name, WEIGHT, 0, math.prod(shape)).view(shape)

    def buffers(self) -> dict[str, torch.Tensor]:
        """The model's buffers."""
        return {
            name: self._open[file.name].get_tensor(buffer_key(name))
            for file in self._files
            for name in file.buffers
        }

    def random_state(self, rank: int, device: str) -> torch.Tensor | None:
        """A rank's random state, if that rank wrote one."""
        if rank >= len(self._files):
            return None
        file = self._open[self._files[rank].name]
        key = random_key(device)
        return file.get_tensor(key) if key in file.keys() else None  # noqa: SIM118 - no mapping


def _open(path: Path) -> Any:
    from safetensors import safe_open

    return safe_open(path, framework="pt")
