"""LoRA (Hu et al. 2021): small matrices are trained beside frozen ones, and merged on export.

    q_proj.base_layer.weight (out, in)     frozen, stays in the base's folder ──────┬─▶  hf/
    q_proj.lora_A.default.weight (r, in)   trained ┐                                │
    q_proj.lora_B.default.weight (out, r)  trained ┴▶ train/checkpoints/step-N  ────┴─▶  hf/adapter/

peft changes the layers in place, so that all else sees the model it knows. A starts at random and
B at 0: training starts from the base itself.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from pipeline.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, PREFIX, Adapter
from pipeline.errors import InputError
from pipeline.merging import merged_weights
from pipeline.pretrained import local_folder
from train.checkpoints.reading import CheckpointReader
from train.config import LoraConfig, ModelConfig

_TRAINED = (".lora_A.default.weight", ".lora_B.default.weight")
ADAPTER_FOLDER = "adapter"
_MODE = 0o644


def add_lora(causal_lm: Any, lora: LoraConfig, base: str, seed: int = 0) -> None:
    """Freeze a Hugging Face causal LM and put trained matrices beside its linear layers, fp32.

    Args:
        causal_lm: the model; it is changed in place.
        lora: which layers, rank and scale.
        base: model reference of its weights, which the adapter names.
        seed: of A.

    Raises:
        InputError: a target is no linear layer, or the head.
    """
    from peft import LoraConfig as PeftConfig
    from peft import inject_adapter_in_model

    torch.manual_seed(seed)
    targets = _targets(causal_lm, lora)
    config = PeftConfig(
        task_type="CAUSAL_LM",
        base_model_name_or_path=base,
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        fan_in_fan_out=_is_turned(causal_lm.get_submodule(targets[0])),
    )
    inject_adapter_in_model(config, causal_lm)
    trained = [name for name, each in causal_lm.named_parameters() if each.requires_grad]
    assert len(trained) == 2 * len(targets), trained
    assert all(name.endswith(_TRAINED) for name in trained), trained


def _targets(causal_lm: Any, lora: LoraConfig) -> list[str]:
    """Names of the layers that get an adapter, in the model's order."""
    head = causal_lm.get_output_embeddings()
    layers = {
        name: module
        for name, module in causal_lm.named_modules()
        if isinstance(module, torch.nn.Linear) or _is_turned(module)
    }
    chosen = {
        target: {name for name in layers if name == target or name.endswith(f".{target}")}
        for target in lora.targets
    }
    known = ", ".join(sorted({name.rpartition(".")[2] for name in layers if layers[name] != head}))
    for target, names in chosen.items():
        if not names:
            raise InputError(
                f"train.lora.targets: {target!r} is the name of no linear layer of "
                f"{causal_lm.config.model_type}; choose among {known}"
            )
        if any(layers[name] is head for name in names):
            raise InputError(
                f"train.lora.targets: {target!r} is the head, which gets no adapter; choose among "
                f"{known}"
            )
    wanted = set().union(*chosen.values()) if chosen else set(layers)
    return [name for name, module in layers.items() if name in wanted and module is not head]


def _is_turned(module: torch.nn.Module) -> bool:
    """Whether a linear layer keeps its weight as (in, out), as GPT-2's do."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Conv1D)


def export_lora(
    target: Path,
    reader: CheckpointReader,
    causal_lm: Any,
    config: ModelConfig,
    dtype: torch.dtype,
) -> Iterator[tuple[str, torch.Tensor]]:
    """Write the adapter of a checkpoint as peft does, and give the weights merged with it.

    Args:
        target: folder for the model; the adapter goes to `adapter/` in it.
        reader: of the checkpoint.
        causal_lm: a model that `add_lora` has changed; its weights themselves are not read.
        config: the base.
        dtype: of all that is written; sums are taken in fp32.

    Raises:
        InputError: the base is not there any more, or is another one now.
    """
    adapter = _read_adapter(reader, causal_lm)
    _write_adapter(target / ADAPTER_FOLDER, adapter, dtype)
    return merged_weights(
        adapter,
        local_folder(config.init_from),
        target,
        dtype,
        trust_remote_code=config.trust_remote_code,
    )


def _read_adapter(reader: CheckpointReader, causal_lm: Any) -> Adapter:
    config = causal_lm.peft_config["default"].to_dict()
    config |= {"inference_mode": True, "target_modules": sorted(config["target_modules"])}
    tensors = {
        PREFIX + name.replace(".default.weight", ".weight"): reader.weight(name)
        for name in sorted(reader.shapes)
    }
    return Adapter.of(config, tensors)


def _write_adapter(folder: Path, adapter: Adapter, dtype: torch.dtype) -> None:
    from safetensors.torch import save_file

    folder.mkdir()
    text = json.dumps(dict(adapter.config), indent=2, sort_keys=True)
    (folder / ADAPTER_CONFIG).write_text(text, "utf-8")
    tensors = {name: each.to(dtype) for name, each in adapter.tensors().items()}
    save_file(tensors, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    (folder / ADAPTER_WEIGHTS).chmod(_MODE)  # it is made for its owner alone
