"""The numbers of a model that its memory follows from, also where hub and tokenizer are away."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from launch.config import TrainingRunConfig
from launch.preflight.models import locate
from pipeline.errors import InputError
from train.config import LoraConfig

_SIZE_IN_NAME = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", re.IGNORECASE)
_HEADS = ("lm_head", "embed_out", "output")


@dataclass(frozen=True)
class Shape:
    """A decoder's sizes."""

    num_layers: int
    hidden: int
    intermediate: int
    """Of the feed-forward layer, summed over the experts that a token goes to."""
    heads: int
    query_width: int
    """All heads of queries together."""
    key_width: int
    """All heads of keys together."""
    head_dim: int
    vocab_size: int

    @classmethod
    def of(cls, config: Any) -> "Shape":
        """The sizes in a Hugging Face config."""
        heads, hidden = int(config.num_attention_heads), int(config.hidden_size)
        head_dim = int(getattr(config, "head_dim", None) or hidden // heads)
        experts = int(getattr(config, "num_experts_per_tok", None) or 1)
        inner = getattr(config, "moe_intermediate_size", None) if experts > 1 else None
        intermediate = int(inner or getattr(config, "intermediate_size", None) or 4 * hidden)
        return cls(
            num_layers=int(config.num_hidden_layers),
            hidden=hidden,
            intermediate=intermediate * experts,
            heads=heads,
            query_width=heads * head_dim,
            key_width=int(getattr(config, "num_key_value_heads", None) or heads) * head_dim,
            head_dim=head_dim,
            vocab_size=int(config.vocab_size),
        )


@dataclass(frozen=True)
class ModelSize:
    """What is known of a model before it is built."""

    num_trained: int
    """Parameters that training changes."""
    num_frozen: int
    """Parameters that stay as they are, beside adapters."""
    shape: Shape | None
    """None: not known; then neither are the activations."""
    remark: str = ""
    """Where a number was not to be had and another stands in its place."""

    @property
    def num_parameters(self) -> int:
        """All of them."""
        return self.num_trained + self.num_frozen


def size_of_trained(config: TrainingRunConfig, hub: str) -> ModelSize | None:
    """The size of the model that a run trains; None where nothing says it.

    Args:
        config: of the run.
        hub: why the hub is out of reach; empty if it is not.

    Raises:
        InputError: the shape has unknown fields, or the model's files are not where it says.
    """
    from train.model import load_shape

    model = config.train.model
    has_tokenizer = _is_here(config.pack.tokenizer, hub)
    if model.init_from and not (has_tokenizer and _is_here(model.init_from, hub)):
        number = size_by_name(model.init_from)
        remark = f"by its name, {model.init_from}, as the model is not here"
        if number is None or config.train.lora is not None:
            return None
        return ModelSize(number, 0, None, remark)
    remark = ""
    if has_tokenizer:
        hf_config = load_shape(model, config.pack.tokenizer)
    else:
        hf_config, remark = _without_tokenizer(model.full_shape())
    trained, frozen = _counts(hf_config, config.train.lora, model.trust_remote_code)
    return ModelSize(trained, frozen, Shape.of(hf_config), remark)


def size_by_name(reference: str) -> int | None:
    """Parameters as a model's name tells them: `org/Model-8B` has 8 billion."""
    found = _SIZE_IN_NAME.findall(reference.rpartition("/")[2].replace("_", "-"))
    if not found:
        return None
    number, unit = found[-1]
    return round(float(number) * (10**9 if unit.lower() == "b" else 10**6))


def _is_here(reference: str, hub: str) -> bool:
    try:
        return locate(reference, "", hub).folder is not None
    except InputError:
        return False


def _without_tokenizer(fields: Mapping[str, Any]) -> tuple[Any, str]:
    """The config of a shape whose vocabulary only the tokenizer would tell."""
    from transformers import AutoConfig

    try:
        hf_config = AutoConfig.for_model(**fields)
    except ValueError as error:
        raise InputError(f"train.model.shape: {error}; name a model_type it knows") from error
    if "vocab_size" in fields:
        return hf_config, ""
    words = f"{hf_config.vocab_size:,} words, the default of {hf_config.model_type}"
    return hf_config, f"with {words}, as the tokenizer is not here"


def _counts(hf_config: Any, lora: LoraConfig | None, trust_remote_code: bool) -> tuple[int, int]:
    """Trained and frozen parameters, of a model whose weights are never allocated."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(hf_config, trust_remote_code=trust_remote_code)
    total = sum(weight.numel() for weight in model.parameters())
    if lora is None:
        return total, 0
    trained = 0
    for name, module in model.named_modules():
        last = name.rpartition(".")[2]
        is_target = last in lora.targets if lora.targets else last not in _HEADS
        if isinstance(module, torch.nn.Linear) and is_target:
            trained += lora.rank * (module.in_features + module.out_features)
    return trained, total
