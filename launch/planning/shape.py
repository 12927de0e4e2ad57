"""Size of a model and FLOPs of its training, from its config alone: without weights or torch."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from launch.planning.rates import RateReader, Rates
from pipeline.errors import InputError
from train.config import TrainConfig
from train.flops import ModelFlops, model_flops

_GATED = ("llama", "mistral", "mixtral", "qwen2", "qwen3")
_SIZE_IN_NAME = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)([mb])(?![a-z])", re.IGNORECASE)
_USUAL_VOCABULARY = 32_000


@dataclass(frozen=True)
class ModelSize:
    """What training and checkpoints go by."""

    parameters: float
    flops: ModelFlops


def parse_count(text: str) -> float:
    """A count as people write it: `100B`, `1.5T`, `8e9`, `250_000`.

    Raises:
        InputError: it is none, or not above 0.
    """
    scales = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
    body, scale = text.strip().upper(), 1.0
    if body[-1:] in scales:
        body, scale = body[:-1], scales[body[-1]]
    try:
        count = float(body) * scale
    except ValueError:
        count = 0.0
    if not 0 < count < float("inf"):
        raise InputError(f"count {text!r} must be a number above 0, such as 100B or 1.5T")
    return count


def trained_model(
    train: TrainConfig,
    tokenizer: str,
    seq_len: int,
    rates: Rates,
    reader: RateReader,
    parameters: float | None = None,
) -> ModelSize:
    """The model that a config trains.

    Args:
        train: its settings.
        tokenizer: reference of the tokenizer of the rows, which decides on the vocabulary.
        seq_len: tokens of a row.
        rates: what is known of models and tokenizers.
        reader: notes what has to be assumed.
        parameters: elements, where the user says them.

    Raises:
        InputError: nothing says how large it is.
    """
    trained = 0 if train.lora is not None else None
    fields = _fields_of(train)
    if fields is not None and parameters is None:
        vocabulary = fields.get("vocab_size") or _vocabulary(tokenizer, rates, reader)
        fields = {**fields, "vocab_size": vocabulary}
        sizes = list(_weights(fields))
        flops = model_flops(fields, sizes, seq_len, trained)
        if flops is not None:
            return ModelSize(sum(size for _, size in sizes), flops)
        parameters = sum(size for _, size in sizes)
    count = parameters or known_parameters(train.model.init_from, rates)
    if count is None:
        raise InputError(
            f"train.model.init_from ({train.model.init_from}): neither a folder with config.json "
            f"nor a name that says the model's size; give --parameters, such as --parameters 8B"
        )
    reader.assume(f"a token of a {count / 1e9:.3g}B model takes 6 FLOPs a parameter in training")
    return ModelSize(count, ModelFlops((4.0 if trained == 0 else 6.0) * count, 0.0))


def known_parameters(reference: str, rates: Rates) -> float | None:
    """Elements of a model by its reference: from the table, its config, or its name."""
    if reference in rates.parameters:
        return rates.parameters[reference]
    if (fields := _read_config(reference)) is not None and fields.get("model_type") in _GATED:
        return float(sum(size for _, size in _weights(fields)))
    found = _SIZE_IN_NAME.findall(reference.rpartition("/")[2] or reference)
    if not found:
        return None
    number, unit = found[-1]
    return float(number) * (1e9 if unit.lower() == "b" else 1e6)


def _fields_of(train: TrainConfig) -> dict[str, Any] | None:
    if train.model.init_from:
        fields = _read_config(train.model.init_from)
        return fields if fields and fields.get("model_type") in _GATED else None
    fields = train.model.full_shape()
    if fields["model_type"] not in _GATED:
        raise InputError(
            f"train.model.shape.model_type ({fields['model_type']}): the planner counts the "
            f"weights of {', '.join(_GATED)}; give --parameters for others"
        )
    return fields


def _read_config(reference: str) -> dict[str, Any] | None:
    path = Path(reference) / "config.json"
    if not path.is_file():
        return None
    fields: dict[str, Any] = orjson.loads(path.read_bytes())
    return fields


def _vocabulary(tokenizer: str, rates: Rates, reader: RateReader) -> int:
    if tokenizer in rates.vocabularies:
        return rates.vocabularies[tokenizer]
    if fields := _read_config(tokenizer):
        return int(fields["vocab_size"])
    reader.assume(
        f"the tokenizer {tokenizer} has {_USUAL_VOCABULARY:,} words "
        f"(train.model.shape.vocab_size says it)"
    )
    return _USUAL_VOCABULARY


def _weights(fields: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Name and elements of each weight of a decoder with gated feed-forward layers."""
    try:
        width, num_layers = fields["hidden_size"], fields["num_hidden_layers"]
        num_heads, inner = fields["num_attention_heads"], fields["intermediate_size"]
    except KeyError as error:
        raise InputError(
            f"train.model.shape has no {error.args[0]}, by which weights are counted; add it, or "
            f"give --parameters"
        ) from error
    head_dim = fields.get("head_dim") or width // num_heads
    num_keys = fields.get("num_key_value_heads") or num_heads
    yield "model.embed_tokens.weight", fields["vocab_size"] * width
    for layer in range(num_layers):
        at = f"model.layers.{layer}"
        yield f"{at}.self_attn.q_proj.weight", width * num_heads * head_dim
        yield f"{at}.self_attn.k_proj.weight", width * num_keys * head_dim
        yield f"{at}.self_attn.v_proj.weight", width * num_keys * head_dim
        yield f"{at}.self_attn.o_proj.weight", width * num_heads * head_dim
        if fields["model_type"] == "qwen3":
            yield f"{at}.self_attn.q_norm.weight", head_dim
            yield f"{at}.self_attn.k_norm.weight", head_dim
        if num_experts := fields.get("num_local_experts"):
            yield f"{at}.mlp.gate.weight", width * num_experts
            yield f"{at}.mlp.experts.weight", num_experts * 3 * width * inner
        else:
            yield f"{at}.mlp.weight", 3 * width * inner
        yield f"{at}.input_layernorm.weight", width
        yield f"{at}.post_attention_layernorm.weight", width
    yield "model.norm.weight", width
    if not fields.get("tie_word_embeddings", False):
        yield "lm_head.weight", fields["vocab_size"] * width


def shape_of_run(model: dict[str, Any]) -> TrainConfig:
    """The training section of a run, from the model that its manifest names."""
    return TrainConfig.model_validate({"model": model, "num_steps": 1, "rows_per_batch": 1})
