"""The model: made from a config or from weights, and its loss on packed rows.

B: rows of a micro-batch, T: seq_len, N: B * T, D: hidden size.
"""

import contextlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pipeline.errors import InputError
from pipeline.loader.batch import IGNORE_LABEL, Batch
from pipeline.pretrained import load_tokenizer, resolve_model
from train.attention import (
    Documents,
    attention_inputs,
    backend_of,
    choose_backend,
    implementation_of,
)
from train.config import LossConfig, ModelConfig
from train.loss import linear_cross_entropy

_FEW_LABELS = 0.9
_TRIAL_TOKENS = 6
_OTHER_ATTENTION = "set attention = 'eager', or, if that fails too, document_mask = false"


def build_model(
    config: ModelConfig,
    tokenizer_reference: str,
    seed: int,
    device: torch.device | None = None,
    compute_dtype: torch.dtype = torch.float32,
) -> Any:
    """A Hugging Face causal LM in fp32, from weights or from scratch.

    Args:
        config: origin, shape and attention.
        tokenizer_reference: model reference of the tokenizer the rows were made with.
        seed: of the initial weights, from scratch.
        device: where it will compute, which decides on the attention; None: on the CPU.
        compute_dtype: what it will compute in, too.

    Raises:
        InputError: the shape has unknown fields, the weights cannot be had, or their vocabulary is
            smaller than the tokenizer's.
    """
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    shape = load_shape(config, tokenizer_reference)
    backend = choose_backend(config.attention, device or torch.device("cpu"), compute_dtype)
    options = {
        "attn_implementation": implementation_of(backend),
        "trust_remote_code": config.trust_remote_code,
        "dtype": torch.float32,
    }
    if config.init_from:
        with _explained(config):
            model = AutoModelForCausalLM.from_pretrained(
                resolve_model(config.init_from), config=shape, **options
            )
    else:
        with _explained(config):
            model = AutoModelForCausalLM.from_config(shape, **options)
    model.config.use_cache = False
    return model


def load_shape(config: ModelConfig, tokenizer_reference: str) -> Any:
    """The Hugging Face config of the model, without its weights.

    Raises:
        InputError: as `build_model`.
    """
    from transformers import AutoConfig

    tokenizer = load_tokenizer(tokenizer_reference, trust_remote_code=config.trust_remote_code)
    if config.init_from:
        with _explained(config):
            shape = AutoConfig.from_pretrained(
                resolve_model(config.init_from), trust_remote_code=config.trust_remote_code
            )
    else:
        fields = {
            "vocab_size": len(tokenizer),
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        } | config.full_shape()
        try:
            shape = AutoConfig.for_model(**fields)
        except ValueError as error:
            raise InputError(f"train.model.shape: {error}") from error
        _refuse_unknown_fields(config.full_shape(), shape)
    if shape.vocab_size < len(tokenizer):
        raise InputError(
            f"the model's vocabulary ({shape.vocab_size}) is smaller than the tokenizer's "
            f"({len(tokenizer)}); pack.tokenizer must be the tokenizer of the model to train"
        )
    return shape


@contextlib.contextmanager
def _explained(config: ModelConfig) -> Iterator[None]:
    """Say in one line why a model cannot be made or loaded."""
    try:
        yield
    except KeyError as error:  # how older architectures look for their attention
        raise InputError(
            f"train.model: this architecture does not work with attention = "
            f"{backend_of(error.args[0])!r}; "
            f"{_OTHER_ATTENTION}"
        ) from error
    except OSError as error:
        first_line = str(error).strip().splitlines()[0]
        raise InputError(
            f"train.model.init_from = {config.init_from!r} cannot be loaded: {first_line}"
        ) from error


def _refuse_unknown_fields(shape: dict[str, Any], model_config: Any) -> None:
    kind = type(model_config)
    known = set(kind().to_dict()) | {"model_type", "vocab_size", *kind.attribute_map}
    if unknown := sorted(shape.keys() - known):
        raise InputError(
            f"train.model.shape: {', '.join(unknown)} not known to "
            f"{type(model_config).__name__}; see its documentation for the fields"
        )


@dataclass(frozen=True)
class ModelInputs:
    """A micro-batch on the device that computes it."""

    input_ids_BT: torch.Tensor
    """int64."""
    positions_BT: torch.Tensor
    """int64, within the document."""
    documents: Documents
    """What attention keeps to."""
    labels_N: torch.Tensor
    """int64 next tokens; of the places of `kept_K` only, if that is given."""
    scales_N: torch.Tensor
    """fp32, what each of these tokens' loss is multiplied by."""
    kept_K: torch.Tensor | None
    """int64 places that have labels, where these are few: head and loss leave out the others."""

    @classmethod
    def of(
        cls,
        batch: Batch,
        device: torch.device,
        row_scales: np.ndarray | None = None,
        has_document_mask: bool = True,
    ) -> "ModelInputs":
        """Move a batch to `device`.

        Args:
            batch: the rows.
            device: of the model.
            row_scales: (B,) what the losses of each row's tokens are multiplied by; None: 1.
            has_document_mask: False: attend over whole rows, with positions to match.
        """
        num_rows, seq_len = batch.input_ids.shape
        positions = batch.positions
        if has_document_mask:
            documents = Documents.of_positions(positions, device)
        else:
            documents = Documents.of_whole_rows(num_rows, seq_len, device)
            positions = np.broadcast_to(np.arange(seq_len), positions.shape)
        labels = batch.labels.reshape(-1)
        scales = np.repeat(np.ones(num_rows) if row_scales is None else row_scales, seq_len)
        kept = np.flatnonzero(labels != IGNORE_LABEL)
        are_few = len(kept) < _FEW_LABELS * len(labels)
        if are_few:
            labels, scales = labels[kept], scales[kept]

        def move(array: np.ndarray, dtype: type) -> torch.Tensor:
            return torch.from_numpy(array.astype(dtype)).to(device, non_blocking=True)

        return cls(
            input_ids_BT=move(batch.input_ids, np.int64),
            positions_BT=move(positions, np.int64),
            documents=documents,
            labels_N=move(labels, np.int64),
            scales_N=move(scales, np.float32),
            kept_K=move(kept, np.int64) if are_few else None,
        )


class PackedCausalLM(torch.nn.Module):
    """A causal LM that takes packed rows and gives their loss, its logits never held whole."""

    def __init__(self, causal_lm: Any, loss: LossConfig | None = None) -> None:
        """Wrap a Hugging Face causal LM; parameters are shared with it.

        Raises:
            InputError: its head does more to logits than scale them.
        """
        super().__init__()
        self.causal_lm = causal_lm
        self._head = _Head(causal_lm.get_output_embeddings())
        self._loss = loss or LossConfig()
        self._logit_scale = _logit_scale(causal_lm.config)
        self._balances_experts = bool(_router_loss_weight(causal_lm.config))

    def forward(self, inputs: ModelInputs) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss to minimise and what each token contributes.

        Returns:
            the scaled sum of all losses, a scalar; and the cross-entropy of each token, (B, T) fp32
            without gradient, 0 where there is no label.
        """
        config, dtype = self.causal_lm.config, self._head.weight.dtype
        seq_len = inputs.documents.seq_len
        window = _sliding_window(config, seq_len)
        options = attention_inputs(config._attn_implementation, inputs.documents, dtype, window)
        if self._balances_experts:
            options["output_router_logits"] = True
        outputs = self.causal_lm.base_model(
            input_ids=inputs.input_ids_BT,
            position_ids=inputs.positions_BT,
            use_cache=False,
            **options,
        )
        hidden_ND = outputs.last_hidden_state.flatten(0, 1)
        if inputs.kept_K is not None:
            hidden_ND = hidden_ND[inputs.kept_K]
        if self._logit_scale != 1.0:
            hidden_ND = hidden_ND * self._logit_scale
        total, losses_N = self._head(hidden_ND, inputs, self._loss)
        if self._balances_experts:
            scale = (inputs.scales_N * (inputs.labels_N != IGNORE_LABEL)).sum()
            total = total + self._balance_loss(outputs.router_logits) * scale
        if inputs.kept_K is not None:
            everywhere = losses_N.new_zeros(inputs.input_ids_BT.numel())
            losses_N = everywhere.index_copy(0, inputs.kept_K, losses_N)
        return total, losses_N.view(inputs.input_ids_BT.shape)

    def _balance_loss(self, router_logits: Any) -> torch.Tensor:
        """What keeps experts equally busy, weighted, by the model's own formula."""
        config = self.causal_lm.config
        formula = inspect.getmodule(type(self.causal_lm)).load_balancing_loss_func  # type: ignore[union-attr]
        balance = formula(router_logits, _num_experts(config), config.num_experts_per_tok, None)
        weighted: torch.Tensor = balance * _router_loss_weight(config)
        return weighted


def compile_layers(causal_lm: Any) -> None:
    """Compile each decoder layer by itself, in place: they share one piece of compiled code."""
    layers = getattr(causal_lm.base_model, "layers", None) or [causal_lm.base_model]
    for layer in layers:
        layer.compile()


def require_all_trained(causal_lm: Any) -> None:
    """Refuse a model that keeps weights of its own from training: checkpoints do not hold these.

    Raises:
        InputError: names one of them.
    """
    for name, weight in causal_lm.named_parameters():
        if not weight.requires_grad:
            raise InputError(
                f"train.model: {causal_lm.config.model_type} has weights that are not trained, "
                f"such as {name}, which checkpoints do not hold; choose another model"
            )


def require_separate_documents(model: PackedCausalLM) -> None:
    """Refuse a model that lets documents of a row see each other; tries it, on the CPU.

    Not every architecture passes on what our attention needs to know, and some carry a state from
    token to token that no mask reaches.

    Raises:
        InputError: the second of two documents changes with the first, or the model fails on them.
    """
    config = model.causal_lm.config
    backend = backend_of(config._attn_implementation)
    ids = np.arange(2, 2 + 2 * _TRIAL_TOKENS)[None].astype(np.int32)
    positions = np.tile(np.arange(_TRIAL_TOKENS), 2)[None]
    segments = np.repeat([[0, 1]], _TRIAL_TOKENS, axis=1)
    found = []
    was_training = model.training
    model.eval()
    for first in (ids, np.where(segments == 0, ids + 1, ids)):
        batch = Batch(first, np.roll(ids, -1), positions, segments, np.zeros(1))
        try:
            with torch.no_grad():
                losses_BT = model(ModelInputs.of(batch, torch.device("cpu")))[1]
        except (AssertionError, AttributeError, KeyError, TypeError) as error:
            raise InputError(
                f"train.model.attention: {config.model_type} does not work with "
                f"{backend!r} ({type(error).__name__}: {error}); "
                f"{_OTHER_ATTENTION}"
            ) from error
        found.append(losses_BT[0, _TRIAL_TOKENS:])
    model.train(was_training)
    if not torch.allclose(found[0], found[1], rtol=0, atol=1e-5):
        raise InputError(
            f"train.model.attention: with {backend!r}, {config.model_type} "
            f"lets the documents of a row see each other; {_OTHER_ATTENTION}"
        )


class _Head(torch.nn.Module):
    """Head and loss in one; a module of its own, so that ZeRO-3 gathers the weight for it."""

    def __init__(self, linear: Any) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias

    def forward(
        self, hidden_ND: torch.Tensor, inputs: ModelInputs, loss: LossConfig
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return linear_cross_entropy(
            hidden_ND,
            self.weight,
            inputs.labels_N,
            inputs.scales_N,
            bias_V=self.bias,
            z_loss=loss.z_loss,
            chunk_tokens=loss.chunk_tokens,
        )


def _logit_scale(config: Any) -> float:
    if cap := getattr(config, "final_logit_softcapping", None):
        raise InputError(
            f"{config.model_type} caps its logits softly (final_logit_softcapping = {cap}), which "
            f"the chunked loss does not do; choose another model"
        )
    return float(getattr(config, "logit_scale", None) or 1.0) / float(
        getattr(config, "logits_scaling", None) or 1.0
    )


def _num_experts(config: Any) -> int:
    return int(getattr(config, "num_local_experts", 0) or getattr(config, "num_experts", 0) or 0)


def _router_loss_weight(config: Any) -> float:
    """Weight of the balance loss; 0: the model has no experts."""
    return float(getattr(config, "router_aux_loss_coef", 0.0)) if _num_experts(config) > 1 else 0.0


def _sliding_window(config: Any, seq_len: int) -> int | None:
    """Tokens that attention looks back, if that is less than a row.

    Raises:
        InputError: only some layers slide, which a dense mask cannot express.
    """
    window = getattr(config, "sliding_window", None)
    if window is None or window >= seq_len:
        return None
    layers = set(getattr(config, "layer_types", None) or ())
    if layers and "sliding_attention" not in layers:
        return None
    if config._attn_implementation in ("sdpa", "eager") and len(layers) > 1:
        raise InputError(
            f"train.model.attention: only some layers of {config.model_type} have a sliding window "
            f"({window} tokens), which is less than pack.seq_len ({seq_len}); use 'varlen'"
        )
    return int(window)
