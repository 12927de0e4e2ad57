"""The chunked loss against torch's own on whole logits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.loader.batch import IGNORE_LABEL
from train.loss import chunk_size, linear_cross_entropy


def whole(hidden, weight, bias, labels, scales, z_loss):
    logits = torch.nn.functional.linear(hidden, weight, bias).float()
    losses = torch.nn.functional.cross_entropy(
        logits, labels, ignore_index=IGNORE_LABEL, reduction="none"
    )
    z = logits.logsumexp(dim=1).square() * (labels != IGNORE_LABEL)
    return (scales * (losses + z_loss * z)).sum(), losses


def inputs(num_tokens: int, with_bias: bool, dtype: torch.dtype, ignored: float = 0.3):
    torch.manual_seed(num_tokens)
    hidden = torch.randn(num_tokens, 12).to(dtype).requires_grad_()
    weight = torch.randn(37, 12).to(dtype).requires_grad_()
    bias = torch.randn(37).to(dtype).requires_grad_() if with_bias else None
    labels = torch.randint(0, 37, (num_tokens,))
    labels[torch.rand(num_tokens) < ignored] = IGNORE_LABEL
    return hidden, weight, bias, labels, torch.rand(num_tokens)


@settings(max_examples=40, deadline=None)
@given(
    num_tokens=st.integers(1, 50),
    chunk=st.integers(1, 60),
    with_bias=st.booleans(),
    z_loss=st.sampled_from([0.0, 0.01]),
)
def test_losses_and_gradients_are_those_of_whole_logits(
    num_tokens: int, chunk: int, with_bias: bool, z_loss: float
) -> None:
    hidden, weight, bias, labels, scales = inputs(num_tokens, with_bias, torch.float32)
    found, losses = linear_cross_entropy(
        hidden, weight, labels, scales, bias_V=bias, z_loss=z_loss, chunk_tokens=chunk
    )
    expected, expected_losses = whole(hidden, weight, bias, labels, scales, z_loss)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(losses, expected_losses.detach(), rtol=1e-5, atol=1e-5)
    weights = [each for each in (hidden, weight, bias) if each is not None]
    grads = torch.autograd.grad(found * 3, weights)
    for mine, right in zip(grads, torch.autograd.grad(expected * 3, weights), strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-4, atol=1e-5)


def test_gradients_of_bf16_weights_add_up_in_fp32() -> None:
    """With 64 chunks: a sum in bf16 would lose what later chunks add."""
    hidden, weight, _, labels, scales = inputs(640, False, torch.bfloat16, ignored=0.0)
    exact = [each.detach().float().requires_grad_() for each in (hidden, weight)]
    whole(*exact, None, labels, scales, 0.0)[0].backward()
    linear_cross_entropy(hidden, weight, labels, scales, chunk_tokens=10)[0].backward()
    error = (weight.grad.float() - exact[1].grad).norm() / exact[1].grad.norm()
    assert error < 0.006
    total = torch.zeros_like(weight)
    for start in range(0, 640, 10):
        part = slice(start, start + 10)
        loss = linear_cross_entropy(hidden[part], weight, labels[part], scales[part])[0]
        total += torch.autograd.grad(loss, weight)[0]
    assert (total.float() - exact[1].grad).norm() / exact[1].grad.norm() > 2 * error


def test_without_gradients_only_losses_are_computed() -> None:
    hidden, weight, _, labels, scales = inputs(20, False, torch.float32)
    with torch.no_grad():
        total, losses = linear_cross_entropy(hidden, weight, labels, scales, chunk_tokens=7)
    expected, expected_losses = whole(hidden, weight, None, labels, scales, 0.0)
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(losses, expected_losses)
    assert not total.requires_grad


@settings(max_examples=30, deadline=None)
@given(
    num_tokens=st.integers(1, 50),
    chunk=st.integers(1, 60),
    trained=st.sets(st.sampled_from(["hidden", "weight", "bias"]), min_size=1, max_size=2),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_what_is_frozen_has_no_gradient_and_the_rest_its_own(
    num_tokens: int, chunk: int, trained: set[str], dtype: torch.dtype
) -> None:
    """A frozen head under an adapter, a bias trained alone: all that may be frozen."""
    *parts, labels, scales = inputs(num_tokens, True, torch.float32)
    values = [part.detach().to(dtype) for part in parts]
    mine, plain = ([value.float().clone() for value in values] for _ in range(2))
    mine = [each.to(dtype) for each in mine]
    for name, own, right in zip(("hidden", "weight", "bias"), mine, plain, strict=True):
        own.requires_grad_(name in trained)
        right.requires_grad_(name in trained)
    hidden, weight, bias = mine
    found, losses = linear_cross_entropy(
        hidden, weight, labels, scales, bias_V=bias, z_loss=0.01, chunk_tokens=chunk
    )
    expected, expected_losses = whole(*plain, labels, scales, 0.01)
    (found * 3).backward()
    (expected * 3).backward()
    near = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.1, "atol": 0.1}
    torch.testing.assert_close(losses, expected_losses.detach(), **near)
    for name, own, right in zip(("hidden", "weight", "bias"), mine, plain, strict=True):
        if name in trained:
            assert own.grad.dtype == dtype
            torch.testing.assert_close(own.grad.float(), right.grad, **near)
        else:
            assert own.grad is None


def test_a_frozen_head_costs_no_gradient_of_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, weight, bias, labels, scales = inputs(20, True, torch.float32)
    shapes: list[torch.Size] = []
    zeros_like = torch.zeros_like

    def noted(like, **settings):
        shapes.append(like.shape)
        return zeros_like(like, **settings)

    monkeypatch.setattr(torch, "zeros_like", noted)
    linear_cross_entropy(hidden, weight, labels, scales, bias_V=bias)
    assert weight.shape in shapes
    shapes.clear()
    linear_cross_entropy(hidden, weight.detach(), labels, scales, bias_V=bias)
    assert bias.shape in shapes
    assert weight.shape not in shapes


def test_under_autocast_the_head_computes_in_bf16() -> None:
    hidden, weight, _, labels, scales = inputs(20, False, torch.float32, ignored=0.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total, _ = linear_cross_entropy(hidden, weight, labels, scales)
    rounded = [each.detach().bfloat16() for each in (hidden, weight)]
    expected, _ = whole(*rounded, None, labels, scales, 0.0)
    torch.testing.assert_close(total, expected)
    total.backward()
    assert weight.grad.dtype == torch.float32


@pytest.mark.parametrize("vocab_size", [1_000, 50_000, 256_000])
def test_chunks_suit_the_device(vocab_size: int) -> None:
    assert chunk_size(vocab_size, "cpu") * vocab_size * 4 <= max(24 << 20, 64 * vocab_size * 4)
    assert chunk_size(vocab_size, "cuda") > chunk_size(vocab_size, "cpu")
    assert chunk_size(vocab_size, "cpu", chunk_tokens=5) == 5
