"""Cross-entropy of a language model's head, without its logits ever held whole.

hidden (N, D) @ weight (V, D)^T = logits (N, V): for 16,384 tokens and 50,000 words 3.3 GB in fp32,
and as much again for their gradient. Here a chunk of tokens goes through head, loss and gradient
at once; what is kept for the backward pass is the gradient of hidden and weight (as in the fused
linear cross-entropy of Liger Kernel, Hsu et al., 2024, arXiv 2410.10989).

N: tokens, D: hidden size, V: vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import torch

from pipeline.loader.batch import IGNORE_LABEL

_CHUNK_BYTES = {"cpu": 24 << 20, "cuda": 512 << 20}


def chunk_size(vocab_size: int, device_type: str, chunk_tokens: int = 0) -> int:
    """Tokens of a chunk: `chunk_tokens`, or as many as suit the device."""
    return chunk_tokens or max(64, _CHUNK_BYTES.get(device_type, 128 << 20) // (4 * vocab_size))


def linear_cross_entropy(
    hidden_ND: torch.Tensor,
    weight_VD: torch.Tensor,
    labels_N: torch.Tensor,
    scales_N: torch.Tensor,
    *,
    bias_V: torch.Tensor | None = None,
    z_loss: float = 0.0,
    chunk_tokens: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scaled sum of the tokens' losses, and each token's cross-entropy.

    Args:
        hidden_ND: last hidden states.
        weight_VD: of the head.
        labels_N: int64, the token to predict, or `IGNORE_LABEL`.
        scales_N: fp32, what each token's loss is multiplied by in the sum.
        bias_V: of the head.
        z_loss: weight of the squared log-partition (PaLM, Chowdhery et al., 2022, section 5).
        chunk_tokens: tokens at once; 0: as suits the device.

    Returns:
        the sum over tokens of scale * (cross-entropy + z_loss * log_partition ** 2), a scalar to
        call `backward` on; and the cross-entropies, (N,) fp32 without gradient, 0 where there is
        no label.
    """
    total, losses_N = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_ND, weight_VD, bias_V, labels_N, scales_N, z_loss, chunk_tokens
    )
    return total, losses_N


class _LinearCrossEntropy(torch.autograd.Function):
    """Computes gradients in the forward pass, chunk by chunk; the backward pass scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: torch.Tensor,
        weight_VD: torch.Tensor,
        bias_V: torch.Tensor | None,
        labels_N: torch.Tensor,
        scales_N: torch.Tensor,
        z_loss: float,
        chunk_tokens: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        device = hidden_ND.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        head = weight_VD.to(dtype or weight_VD.dtype)
        hidden = hidden_ND.to(head.dtype)
        wanted = ctx.needs_input_grad[:3]
        with torch.autocast(device, enabled=False):
            sums = _Sums.zeros(hidden, head, bias_V, wanted)
            size = chunk_size(len(head), device, chunk_tokens)
            for start in range(0, len(hidden), size):
                chunk = slice(start, start + size)
                sums.add(hidden, head, bias_V, labels_N, scales_N, z_loss, chunk)
        ctx.grads = tuple(
            grad.to(of.dtype) if grad is not None and of is not None else None
            for grad, of in zip(sums.grads, (hidden_ND, weight_VD, bias_V), strict=True)
        )
        ctx.mark_non_differentiable(sums.losses_N)
        return sums.total, sums.losses_N

    @staticmethod
    def backward(ctx: Any, grad_total: torch.Tensor, _: Any) -> tuple[Any, ...]:
        scaled = [None if grad is None else grad.mul_(grad_total) for grad in ctx.grads]
        del ctx.grads
        return *scaled, None, None, None, None


class _Sums:
    """What grows from chunk to chunk; gradients of weights in fp32, whatever the weights are in."""

    def __init__(self, total: torch.Tensor, losses_N: torch.Tensor, grads: Any) -> None:
        self.total, self.losses_N = total, losses_N
        self.grads = grads
        self.grad_hidden_ND, self.grad_weight_VD, self.grad_bias_V = grads

    @classmethod
    def zeros(
        cls,
        hidden: torch.Tensor,
        head: torch.Tensor,
        bias_V: torch.Tensor | None,
        wanted: Sequence[bool],
    ) -> "_Sums":
        """Sums of nothing; `wanted`: gradients of hidden, head, bias (a frozen head has none)."""
        grads = (
            torch.empty_like(hidden) if wanted[0] else None,
            torch.zeros_like(head, dtype=torch.float32) if wanted[1] else None,
            torch.zeros_like(bias_V, dtype=torch.float32)
            if bias_V is not None and wanted[2]
            else None,
        )
        return cls(
            torch.zeros((), dtype=torch.float32, device=hidden.device),
            torch.zeros(len(hidden), dtype=torch.float32, device=hidden.device),
            grads,
        )

    def add(
        self,
        hidden: torch.Tensor,
        head: torch.Tensor,
        bias_V: torch.Tensor | None,
        labels_N: torch.Tensor,
        scales_N: torch.Tensor,
        z_loss: float,
        chunk: slice,
    ) -> None:
        """One chunk: its losses, and where gradients are wanted, its share of them."""
        states, labels, scales = hidden[chunk], labels_N[chunk], scales_N[chunk]
        has_label = labels != IGNORE_LABEL
        targets = labels.clamp(min=0)[:, None]
        logits = (states @ head.T).float()
        if bias_V is not None:
            logits += bias_V.float()
        target_logits = logits.gather(1, targets)[:, 0]
        # In place from here on: one exponential of each logit serves loss and gradient.
        largest = logits.amax(dim=1)
        exponentials = logits.sub_(largest[:, None]).exp_()
        sums = exponentials.sum(dim=1)
        log_partition = largest + sums.log()
        losses = (log_partition - target_logits) * has_label
        self.losses_N[chunk] = losses
        scales = scales * has_label
        self.total += (scales * (losses + z_loss * log_partition.square())).sum()
        if all(grad is None for grad in self.grads):
            return
        # Gradient of a logit: scale * (softmax * (1 + 2 z log_partition) - [is the target]).
        grad = exponentials.mul_((scales * (1 + 2 * z_loss * log_partition) / sums)[:, None])
        grad.scatter_add_(1, targets, -scales[:, None])
        if self.grad_bias_V is not None:
            self.grad_bias_V += grad.sum(dim=0)
        grad = grad.to(head.dtype)
        if self.grad_hidden_ND is not None:
            torch.mm(grad, head, out=self.grad_hidden_ND[chunk])
        if self.grad_weight_VD is not None and head.dtype == torch.float32:
            self.grad_weight_VD.addmm_(grad.T, states)
        elif self.grad_weight_VD is not None:
            self.grad_weight_VD += grad.T @ states
