"""The model, its attention mask over packed rows, and the loss per token.

B: rows of a micro-batch, T: seq_len, V: vocabulary.
"""

from typing import Any

import torch
from torch.nn import functional

from pipeline.errors import InputError
from pipeline.loader.batch import IGNORE_LABEL
from pipeline.pretrained import load_tokenizer, resolve_model
from train.config import ModelConfig


def build_model(config: ModelConfig, tokenizer_reference: str, seed: int) -> Any:
    """A Hugging Face causal LM in fp32, from weights or from scratch.

    Args:
        config: origin and shape.
        tokenizer_reference: model reference of the tokenizer the rows were made with.
        seed: of the initial weights, from scratch.

    Raises:
        InputError: the shape has unknown fields, the weights cannot be had, or their vocabulary is
            smaller than the tokenizer's.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(seed)
    tokenizer = load_tokenizer(tokenizer_reference, trust_remote_code=config.trust_remote_code)
    options = {
        "attn_implementation": config.attention,
        "trust_remote_code": config.trust_remote_code,
    }
    if config.init_from:
        try:
            model = AutoModelForCausalLM.from_pretrained(
                resolve_model(config.init_from), dtype=torch.float32, **options
            )
        except OSError as error:
            first_line = str(error).strip().splitlines()[0]
            raise InputError(
                f"train.model.init_from = {config.init_from!r} cannot be loaded: {first_line}"
            ) from error
    else:
        shape = {
            "vocab_size": len(tokenizer),
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        } | config.shape
        try:
            model_config = AutoConfig.for_model(**shape)
        except ValueError as error:
            raise InputError(f"train.model.shape: {error}") from error
        _refuse_unknown_fields(config.shape, model_config)
        model = AutoModelForCausalLM.from_config(model_config, dtype=torch.float32, **options)
    if model.config.vocab_size < len(tokenizer):
        raise InputError(
            f"the model's vocabulary ({model.config.vocab_size}) is smaller than the tokenizer's "
            f"({len(tokenizer)}); pack.tokenizer must be the tokenizer of the model to train"
        )
    model.config.use_cache = False
    return model


def _refuse_unknown_fields(shape: dict[str, Any], model_config: Any) -> None:
    known = set(type(model_config)().to_dict()) | {"model_type", "vocab_size"}
    if unknown := sorted(shape.keys() - known):
        raise InputError(
            f"train.model.shape: {', '.join(unknown)} not known to "
            f"{type(model_config).__name__}; see its documentation for the fields"
        )


def document_mask(segment_ids_BT: torch.Tensor) -> torch.Tensor:
    """(B, 1, T, T) bool: True where a token may look, at its own document up to itself."""
    same = segment_ids_BT[:, None, :, None] == segment_ids_BT[:, None, None, :]
    length = segment_ids_BT.shape[1]
    return same & torch.ones(length, length, dtype=torch.bool, device=same.device).tril()


def token_losses(
    model: Any,
    input_ids_BT: torch.Tensor,
    labels_BT: torch.Tensor,
    positions_BT: torch.Tensor,
    segment_ids_BT: torch.Tensor | None,
) -> torch.Tensor:
    """Next-token loss of each position, (B, T) fp32, 0 where there is no label.

    Args:
        model: a causal LM, or a DeepSpeed engine around one.
        input_ids_BT: token ids, of any integer type, like all that follows.
        labels_BT: the token to predict at each position, already shifted.
        positions_BT: position within the document.
        segment_ids_BT: document of each token; None attends over the whole row.
    """
    if segment_ids_BT is None:
        inputs: dict[str, torch.Tensor] = {}
    else:
        mask = document_mask(segment_ids_BT)
        if _is_eager(model):  # adds its mask to the scores instead of selecting by it
            lowest = torch.finfo(torch.float32).min
            mask = torch.where(mask, 0.0, lowest).to(next(model.parameters()).dtype)
        inputs = {"attention_mask": mask, "position_ids": positions_BT.long()}
    logits_BTV = model(input_ids=input_ids_BT.long(), use_cache=False, **inputs).logits
    losses = functional.cross_entropy(
        logits_BTV.float().flatten(0, 1),
        labels_BT.long().flatten(),
        ignore_index=IGNORE_LABEL,
        reduction="none",
    )
    return losses.view_as(labels_BT)


def _is_eager(model: Any) -> bool:
    inner = getattr(model, "module", model)
    return bool(inner.config._attn_implementation == "eager")
