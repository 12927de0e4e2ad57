"""LoRA adapters as peft writes them (Hu et al. 2021, LoRA, section 4.1).

adapter/  adapter_config.json         base, rank, alpha, what of peft's further methods was in use
          adapter_model.safetensors   for each linear layer A (r, in) and B (out, r)

What a layer multiplies by is W + alpha / r * B A; an adapter that does more than that is refused.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError

if TYPE_CHECKING:
    import torch

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What peft puts before the name of each module."""
_ENDINGS = (".lora_A.weight", ".lora_B.weight")
_TOKENIZER_CONFIG = "tokenizer_config.json"
_NOT_PLAIN = (  # settings of peft under which W + alpha / r * B A is not what it computes
    "use_dora",
    "modules_to_save",
    "trainable_token_indices",
    "target_parameters",
    "layer_replication",
    "alpha_pattern",
    "alora_invocation_tokens",
    "use_qalora",
    "use_bdlora",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "lora_bias",
    "revision",
)
_PLAIN_STARTS = (None, True, False, "gaussian", "orthogonal", "eva")
_REMEDY = "merge it with peft (merge_and_unload) and name the folder of the whole model instead"


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no model of its own."""
    return (folder / ADAPTER_CONFIG).is_file() and not (folder / "config.json").exists()


def has_tokenizer(folder: Path) -> bool:
    """Whether an adapter came with a tokenizer."""
    return (folder / _TOKENIZER_CONFIG).is_file()


def base_reference(folder: Path) -> str:
    """Model reference of the base of an adapter.

    Raises:
        InputError: it names none.
    """
    base = _read_config(folder).get("base_model_name_or_path")
    if not base:
        raise InputError(
            f"adapter {folder}: base_model_name_or_path is {base!r}; set it in {ADAPTER_CONFIG} to "
            f"the model that the adapter was trained on"
        )
    return str(base)


@dataclass(frozen=True)
class Adapter:
    """The matrices of an adapter."""

    config: Mapping[str, Any]
    """Fields of `adapter_config.json`."""
    factors: Mapping[str, tuple["torch.Tensor", "torch.Tensor"]]
    """By name of the weight that they change: A (r, in) and B (out, r)."""

    @classmethod
    def of(cls, config: Mapping[str, Any], tensors: Mapping[str, "torch.Tensor"]) -> "Adapter":
        """Pair what peft stores one by one.

        Args:
            config: fields of `adapter_config.json`.
            tensors: by their names in `adapter_model.safetensors`.

        Raises:
            InputError: it is more than LoRA, or less.
        """
        _require_plain(config)
        for name in tensors:
            if not (name.startswith(PREFIX) and name.endswith(_ENDINGS)):
                raise InputError(f"tensor {name} is none of LoRA's on a linear layer; {_REMEDY}")
        modules = sorted({name.removeprefix(PREFIX)[: -len(_ENDINGS[0])] for name in tensors})
        pairs = {module: [f"{PREFIX}{module}{ending}" for ending in _ENDINGS] for module in modules}
        if lone := [name for names in pairs.values() for name in names if name not in tensors]:
            raise InputError(f"tensor {lone[0]} is missing; copy the adapter anew")
        if not pairs:
            raise InputError("there are no tensors; copy the adapter anew")
        factors = {
            f"{module}.weight": (tensors[first], tensors[second])
            for module, (first, second) in pairs.items()
        }
        return cls(config, factors)

    def tensors(self) -> dict[str, "torch.Tensor"]:
        """The matrices by the names that peft gives them."""
        named: dict[str, torch.Tensor] = {}
        for weight, pair in self.factors.items():
            module = weight.removesuffix(".weight")
            names = (f"{PREFIX}{module}{ending}" for ending in _ENDINGS)
            named |= dict(zip(names, pair, strict=True))
        return named

    def merged(self, name: str, weight: "torch.Tensor") -> "torch.Tensor":
        """A weight of the base with its update, fp32.

        Raises:
            InputError: the shapes do not fit.
        """
        first, second = self.factors[name]
        rank = len(first)
        root = math.sqrt(rank) if self.config.get("use_rslora") else rank
        update = (second.float() @ first.float()).mul_(float(self.config["lora_alpha"]) / root)
        if self.config.get("fan_in_fan_out"):
            update = update.T
        if update.shape != weight.shape:
            raise InputError(
                f"{name} is {tuple(weight.shape)} in the base and {tuple(update.shape)} in the "
                f"adapter; set base_model_name_or_path to the model it was trained on"
            )
        return weight.float() + update


def read_adapter(folder: Path) -> Adapter:
    """An adapter from a folder.

    Raises:
        InputError: it cannot be read, or is none that can be merged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / ADAPTER_WEIGHTS
    if not path.is_file():
        raise InputError(f"adapter {folder}: {path.name} is missing; save it with peft >= 0.6")
    try:
        return Adapter.of(_read_config(folder), load_file(path))
    except SafetensorError as error:
        raise InputError(f"adapter {folder}: {path.name} is damaged: {error}") from error
    except InputError as error:
        raise InputError(f"adapter {folder}: {error}") from error


def _require_plain(config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise InputError(f"peft_type is {kind!r}, only 'LORA' can be merged here; {_REMEDY}")
    for field in _NOT_PLAIN:
        if config.get(field):
            raise InputError(
                f"{field} = {config[field]!r} is more than plain LoRA, which alone can be merged "
                f"here; {_REMEDY}"
            )
    if (bias := config.get("bias", "none")) != "none":
        raise InputError(f"bias = {bias!r} trains biases too, only 'none' can be merged; {_REMEDY}")
    start = config.get("init_lora_weights")
    if start not in _PLAIN_STARTS:
        raise InputError(
            f"init_lora_weights = {start!r} changes the base itself, which cannot be repeated "
            f"here; {_REMEDY}"
        )
    if not isinstance(config.get("lora_alpha"), int | float):
        raise InputError(f"lora_alpha is {config.get('lora_alpha')!r}; it must be a number")


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / ADAPTER_CONFIG
    try:
        values = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}; copy the adapter anew") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no object; copy the adapter anew")
    return values
