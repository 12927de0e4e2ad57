"""The safetensors files of a Hugging Face folder, read and written a weight at a time."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_MODE = 0o644


class WeightFiles:
    """All weights of a folder; files are mapped, not loaded."""

    def __init__(self, folder: Path) -> None:
        """Open the files; a folder that has none has no weights."""
        from safetensors import safe_open

        paths = sorted(folder.glob("model*.safetensors"))
        self._files: list[Any] = [safe_open(path, framework="pt") for path in paths]
        self.names: list[str] = [name for file in self._files for name in file.keys()]  # noqa: SIM118
        """Of all weights, file by file."""

    def __iter__(self) -> Iterator[tuple[str, "torch.Tensor"]]:
        """Names and weights, as they are stored."""
        for file in self._files:
            for name in file.keys():  # noqa: SIM118 - no mapping
                yield name, file.get_tensor(name)


def write_weights(
    target: Path, weights: Iterator[tuple[str, "torch.Tensor"]], max_bytes: int
) -> None:
    """Fill one file after the other, each up to `max_bytes`, and their index if there are more."""
    from safetensors.torch import save_file

    shards: list[dict[str, int]] = []
    held: dict[str, torch.Tensor] = {}

    def write() -> None:
        path = target / f"{len(shards)}.safetensors"
        save_file(held, path, metadata={"format": "pt"})
        path.chmod(_MODE)  # it is made for its owner alone
        shards.append({name: tensor.nbytes for name, tensor in held.items()})
        held.clear()

    for name, tensor in weights:
        if held and sum(each.nbytes for each in held.values()) + tensor.nbytes > max_bytes:
            write()
        held[name] = tensor.contiguous()
    write()
    if len(shards) == 1:
        (target / "0.safetensors").rename(target / "model.safetensors")
        return
    weight_map = dict[str, str]()
    for number, shard in enumerate(shards):
        file = f"model-{number + 1:05d}-of-{len(shards):05d}.safetensors"
        (target / f"{number}.safetensors").rename(target / file)
        weight_map |= dict.fromkeys(shard, file)
    total = sum(sum(shard.values()) for shard in shards)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (target / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), "utf-8")
