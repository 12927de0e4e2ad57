"""Adapters that peft has written, of models in folders."""

from pathlib import Path
from typing import Any


def save_adapter(
    folder: Path, base: Path, reference: str | None = None, **options: Any
) -> tuple[Path, dict[str, Any]]:
    """Save a random LoRA adapter of a model; returns it, and the weights that peft merges.

    Args:
        folder: where.
        base: of the model.
        reference: what the adapter says of its base; None: `base`.
        options: of `peft.LoraConfig`.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(7)
    base_model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    base_model.name_or_path = reference or str(base)
    defaults = {"r": 4, "lora_alpha": 12, "target_modules": "all-linear"}
    model = get_peft_model(base_model, LoraConfig(task_type="CAUSAL_LM", **(defaults | options)))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.copy_(torch.randn(weight.shape) / 10)
    model.save_pretrained(folder)
    return folder, model.merge_and_unload().state_dict()
