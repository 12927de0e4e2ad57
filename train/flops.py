"""FLOPs of training by formula, and the share of the accelerators' peak that they make (MFU).

A row of six tokens, the documents "a b c d" and "e f", and the keys that each query sees:

    whole row   1 2 3 4 5 6   21 pairs     documents   1 2 3 4 1 2   13 pairs

FLOPs of a step = per_token * tokens + per_pair * pairs. What is computed a second time under
activation checkpointing is not useful work and not counted.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Kind = Literal["embedding", "head", "experts", "vectors", "other"]

_HEADS = {"lm_head", "embed_out", "output"}
_EXPERT_NUMBERS = ("num_local_experts", "num_experts", "n_routed_experts")


@dataclass(frozen=True)
class ModelFlops:
    """FLOPs of one forward and backward pass; a multiplication and an addition are two."""

    per_token: float
    """Of all that is multiplied by weights."""
    per_pair: float
    """Of attention, for a query and a key that it sees, over all layers and heads."""

    def of(self, num_tokens: float, num_pairs: float) -> float:
        """FLOPs over `num_tokens` tokens whose queries see `num_pairs` keys together."""
        return self.per_token * num_tokens + self.per_pair * num_pairs


def model_flops(
    config: Any,
    parameters: Iterable[tuple[str, int]],
    seq_len: int,
    num_trained: int | None = None,
) -> ModelFlops | None:
    """FLOPs of a decoder with full causal attention.

    A weight that is multiplied costs 2 FLOPs a token in the forward pass and 4 in the backward
    pass: 6 * N (Kaplan et al. 2020, section 2.1). Here N is all matrices but looked-up embeddings;
    the output head counts once, also where it is the embedding itself; of experts, those that a
    token goes to. Attention takes 12 * layers * heads * head_dim for each key that a query sees
    (Chowdhery et al. 2022, PaLM, appendix B, there over all keys of the row). A frozen weight costs
    2 FLOPs in the backward pass, for what goes on to the layers before it; none for its gradient.

    Args:
        config: a Hugging Face config, or its fields as a dict.
        parameters: name and number of elements of each parameter, tied ones once, as
            `named_parameters` yields them; under ZeRO stage 3 the numbers before sharding.
        seq_len: tokens of a row.
        num_trained: elements of the matrices that are trained, if the others are frozen (LoRA);
            None: all are trained.

    Returns:
        None where the formula does not hold or lacks a number: attention over a window shorter
        than the row, linear or latent attention, experts of unknown number.
    """
    counts = count_parameters(parameters)
    width, vocabulary = _field(config, "hidden_size"), _field(config, "vocab_size")
    num_layers, num_heads = (
        _field(config, "num_hidden_layers"),
        _field(config, "num_attention_heads"),
    )
    active_share = _active_share(config) if counts["experts"] else 0.0
    if not (width and vocabulary and num_layers and num_heads) or active_share is None:
        return None
    if not _has_full_attention(config, seq_len):
        return None
    head_dim = _field(config, "head_dim") or width // num_heads
    head = counts["head"] or vocabulary * width
    num_weights = counts["other"] + head + counts["experts"] * active_share
    num_gradients = num_weights if num_trained is None else num_trained
    return ModelFlops(
        4.0 * num_weights + 2.0 * num_gradients, 12.0 * num_layers * num_heads * head_dim
    )


def count_parameters(parameters: Iterable[tuple[str, int]]) -> Counter[Kind]:
    """Elements of parameters by kind, told by the names that Hugging Face models give them.

    `embedding` is looked up, `experts` are those a router chooses among (shared experts are
    `other`), `vectors` are norms and biases, which are added or scaled by, `other` is multiplied.
    """
    counts: Counter[Kind] = Counter()
    for name, size in parameters:
        counts[_kind_of(name)] += size
    return counts


def row_pairs(num_rows: int, seq_len: int) -> int:
    """Keys seen by all queries of rows under causal attention over the whole row."""
    return num_rows * seq_len * (seq_len + 1) // 2


def document_pairs(positions: np.ndarray) -> int:
    """Keys seen by all queries of rows under causal attention within documents.

    A document of L tokens has L * (L + 1) / 2; padding counts like a document, as it is computed.

    Args:
        positions: (rows, seq_len) integers, position within the document, from 0.
    """
    return int(positions.sum(dtype=np.int64)) + positions.size


def saved_share(pairs_of_documents: float, pairs_of_rows: float) -> float:
    """Share (0..1) of attention's FLOPs that the document mask saves against whole rows."""
    return 1 - pairs_of_documents / pairs_of_rows


def utilisation(flops: float, seconds: float, num_devices: int, peak: float) -> float:
    """Model FLOPs utilisation, 0..1 (Chowdhery et al. 2022, PaLM, appendix B).

    With the pairs of whole rows in `flops`, it compares with figures published elsewhere, but
    counts as done what the document mask saves; with the pairs of documents, it does not.

    Args:
        flops: of a step, on all devices together.
        seconds: that the step took.
        num_devices: accelerators that took part.
        peak: FLOPs a second of one of them (`train.accelerators.peak_flops`).
    """
    return flops / seconds / (num_devices * peak)


def _kind_of(name: str) -> Kind:
    parts = name.split(".")
    if parts[-1].endswith("bias") or any(re.search(r"norm|^ln(_|$)", part) for part in parts):
        return "vectors"
    if len(parts) > 1 and parts[-2] in _HEADS:
        return "head"
    if "experts" in parts:
        return "experts"
    if any(part in ("wte", "wpe") or "embed" in part for part in parts):
        return "embedding"
    return "other"


def _active_share(config: Any) -> float | None:
    """Share of the experts that a token goes to."""
    chosen = _field(config, "num_experts_per_tok")
    number = next(filter(None, (_field(config, name) for name in _EXPERT_NUMBERS)), None)
    return chosen / number if chosen and number else None


def _has_full_attention(config: Any, seq_len: int) -> bool:
    if _field(config, "kv_lora_rank"):
        return False
    window = _field(config, "sliding_window")
    is_windowed = bool(window) and window < seq_len
    # Without a list of kinds, a window holds for all layers; Qwen's configs can switch it off.
    default = "full" if _field(config, "use_sliding_window") is False else "sliding"
    kinds = set(_field(config, "layer_types") or [f"{default}_attention"])
    fits = {"full_attention"} if is_windowed else {"full_attention", "sliding_attention"}
    return kinds <= fits


def _field(config: Any, name: str) -> Any:
    return config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)
