"""An adapter merged into the weights it was trained beside.

    adapter/  adapter_config.json         rank, alpha                merged/  config.json, tokenizer
              adapter_model.safetensors   A (r, in), B (out, r)  ─▶           model*.safetensors
    base/     model*.safetensors          W (out, in)                         W + alpha / r * B A

The sum is taken in fp32 and stored in the type that W had; one weight after the other goes through
memory.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.adapters import Adapter, has_tokenizer, read_adapter
from pipeline.errors import InputError
from pipeline.weight_files import WeightFiles, write_weights

if TYPE_CHECKING:
    import torch

_MODEL_FILES = ("config.json", "generation_config.json", "*.py")
_TOKENIZER_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "chat_template*",
    "*.model",
)
_MAX_SHARD_BYTES = 5 * 2**30


def merged_weights(
    adapter: Adapter,
    base: Path,
    scratch: Path,
    dtype: "torch.dtype | None" = None,
    *,
    trust_remote_code: bool = False,
) -> Iterator[tuple[str, "torch.Tensor"]]:
    """The weights of the base, those that the adapter changes with their update.

    Args:
        adapter: what is added.
        base: folder of the base. If its files are not safetensors, or lack the names that the
            model has in memory, it is loaded whole and written anew first.
        scratch: an existing folder; the base is written to one in it, which is removed in the end.
        dtype: of all weights; None: each has the type that it has in the base.
        trust_remote_code: run code that ships with the base, if it must be loaded.

    Raises:
        InputError: the adapter is of another model, or the base is quantized.
    """
    config = base / "config.json"
    if config.is_file() and "quantization_config" in json.loads(config.read_text("utf-8")):
        raise InputError(f"base {base} is quantized; name the base in 16 or 32 bits instead")
    with tempfile.TemporaryDirectory(prefix=".base-", dir=scratch) as anew:
        files = WeightFiles(base)
        if not adapter.factors.keys() <= set(files.names):
            _write_anew(base, Path(anew), trust_remote_code)
            files = WeightFiles(Path(anew))
        if missing := sorted(adapter.factors.keys() - set(files.names)):
            raise InputError(
                f"base {base} has no {missing[0]}, which the adapter changes; set "
                f"base_model_name_or_path to the model it was trained on"
            )
        for name, weight in files:
            kept = dtype if dtype and weight.is_floating_point() else weight.dtype
            full = adapter.merged(name, weight) if name in adapter.factors else weight
            yield name, full.to(kept)


def write_merged(folder: Path, base: Path, target: Path) -> None:
    """Write a model with an adapter merged into it; the tokenizer is the adapter's, if it has one.

    Args:
        folder: of the adapter.
        base: of the model.
        target: an existing, empty folder.

    Raises:
        InputError: the adapter cannot be merged, or not into this base.
    """
    adapter = read_adapter(folder)
    write_weights(target, merged_weights(adapter, base, target), _MAX_SHARD_BYTES)
    copied = _matching(base, _MODEL_FILES)
    copied += _matching(folder if has_tokenizer(folder) else base, _TOKENIZER_FILES)
    for path in copied:
        shutil.copyfile(path, target / path.name)


def _matching(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    return [path for pattern in patterns for path in folder.glob(pattern) if path.is_file()]


def _write_anew(base: Path, folder: Path, trust_remote_code: bool) -> None:
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(
            base, dtype="auto", trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise InputError(f"base {base} cannot be loaded: {first_line}") from error
    model.save_pretrained(folder)
