"""Checkpoints written without training, as if by several ranks."""

from collections.abc import Mapping
from pathlib import Path

import torch

from pipeline import storage
from train.checkpoints.engine_state import KINDS
from train.checkpoints.marker import (
    CheckpointMarker,
    FragmentPlace,
    data_file,
    sidecar_of,
    tag_of,
)
from train.checkpoints.reading import buffer_key, random_key, tensor_key
from train.checkpoints.writing import write_tensors


def write_checkpoint(
    folder: Path,
    weights: Mapping[str, torch.Tensor],
    num_ranks: int,
    step: int = 2,
    instance: str = "i",
    buffers: Mapping[str, torch.Tensor] | None = None,
) -> CheckpointMarker:
    """A complete checkpoint below `folder`, its weights laid end to end and cut evenly.

    The moments of a weight are it plus 100 and it plus 200.
    """
    root = folder / tag_of(step)
    root.mkdir(parents=True)
    total = sum(weight.numel() for weight in weights.values())
    share = -(-total // num_ranks)
    sidecars = {}
    for rank in range(num_ranks):
        tensors = {random_key("cpu"): torch.tensor([rank], dtype=torch.uint8)}
        places, begin = [], 0
        for name, weight in weights.items():
            start = max(0, rank * share - begin)
            end = min(weight.numel(), (rank + 1) * share - begin)
            begin += weight.numel()
            if start >= end:
                continue
            for number, kind in enumerate(KINDS):
                part = weight.detach().flatten()[start:end].float() + 100 * number
                tensors[tensor_key(name, start, kind)] = part
            shape = list(weight.shape)
            places.append(
                FragmentPlace(name=name, shape=shape, start=start, num_elements=end - start)
            )
        own = dict(buffers or {}) if rank == 0 else {}
        tensors |= {buffer_key(name): value for name, value in own.items()}
        file = write_tensors(root, data_file(rank), tensors, places, list(own))
        sidecar = root / sidecar_of(file.name)
        sidecar.write_text(file.model_dump_json())
        sidecars[sidecar.name] = storage.sha256_of(str(sidecar))
    marker = CheckpointMarker(
        step=step,
        rows=step,
        num_ranks=num_ranks,
        instance=instance,
        code_version="0",
        optimizer_steps=step,
        data={},
        sidecars=sidecars,
    )
    (folder / f"{tag_of(step)}.json").write_text(marker.signed().model_dump_json())
    return marker
