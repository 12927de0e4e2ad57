"""Documents of packed rows: their bounds and masks, and backends that agree."""

import numpy as np
import pytest
import torch

from pipeline.errors import InputError
from train.attention import (
    Documents,
    attention_inputs,
    choose_backend,
    implementation_of,
)

CPU = torch.device("cpu")
POSITIONS = np.array([[0, 1, 2, 0, 1], [0, 1, 2, 3, 0]])


def test_documents_of_positions() -> None:
    documents = Documents.of_positions(POSITIONS, CPU)
    assert documents.lengths == [3, 2, 4, 1]
    assert documents.bounds.tolist() == [0, 3, 5, 9, 10]
    assert documents.numbers_BT.tolist() == [[0, 0, 0, 1, 1], [2, 2, 2, 2, 3]]
    assert documents.seq_len == 5


def test_a_mask_lets_tokens_see_their_document_up_to_themselves() -> None:
    mask = Documents.of_positions(POSITIONS, CPU).mask()
    assert mask.shape == (2, 1, 5, 5)
    assert mask[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 1, 1],
    ]


def test_a_window_cuts_what_is_too_far_back() -> None:
    mask = Documents.of_whole_rows(1, 4, CPU).mask(window=2)[0, 0]
    assert mask.int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]


def reference(query, key, value, documents: Documents, window: int | None, scale: float):
    """Attention written out, in fp64; (B, H, T, D), keys repeated for groups of heads."""
    groups = query.shape[1] // key.shape[1]
    key, value = (each.repeat_interleave(groups, dim=1).double() for each in (key, value))
    scores = query.double() @ key.transpose(2, 3) * scale
    scores = scores.masked_fill(~documents.mask(window), float("-inf"))
    return (scores.softmax(dim=-1) @ value).transpose(1, 2)


@pytest.mark.parametrize("backend", ["varlen", "flex"])
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("num_kv_heads", [4, 2, 1], ids=["MHA", "GQA", "MQA"])
def test_backends_compute_attention_within_documents(backend: str, num_kv_heads: int) -> None:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    torch.manual_seed(0)
    has_backward = backend != "flex"  # torch has none for it on a CPU
    documents = Documents([3, 60, 1, 7, 71], 2, CPU)
    query = torch.randn(2, 4, 71, 16, requires_grad=has_backward)
    key, value = (
        torch.randn(2, num_kv_heads, 71, 16, requires_grad=has_backward) for _ in range(2)
    )
    module = torch.nn.Module()
    attend = ALL_ATTENTION_FUNCTIONS[implementation_of(backend)]
    found, _ = attend(module, query, key, value, None, scaling=0.3, documents=documents)
    expected = reference(query, key, value, documents, None, 0.3)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)
    if not has_backward:
        return
    weight = torch.randn_like(found)
    found_grads = torch.autograd.grad((found * weight).sum(), (query, key, value))
    expected_grads = torch.autograd.grad((expected * weight).sum(), (query, key, value))
    for mine, right in zip(found_grads, expected_grads, strict=True):
        torch.testing.assert_close(mine, right, rtol=0, atol=1e-4)


def test_varlen_keeps_to_a_sliding_window() -> None:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    torch.manual_seed(0)
    documents = Documents([5, 20, 25], 2, CPU)
    query, key, value = (torch.randn(2, 2, 25, 8) for _ in range(3))
    attend = ALL_ATTENTION_FUNCTIONS[implementation_of("varlen")]
    found, _ = attend(
        None, query, key, value, None, scaling=0.5, documents=documents, sliding_window=6
    )
    expected = reference(query, key, value, documents, 6, 0.5)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)
    unlimited = reference(query, key, value, documents, None, 0.5)
    assert not torch.allclose(found.double(), unlimited, atol=1e-3)


@pytest.mark.parametrize("backend", ["varlen", "flex"])
@pytest.mark.parametrize(
    ("options", "words"),
    [({"softcap": 30.0}, "soft caps"), ({"s_aux": 1}, "sinks"), ({"dropout": 0.1}, "dropout")],
)
def test_what_a_backend_lacks_is_refused(backend: str, options: dict, words: str) -> None:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    attend = ALL_ATTENTION_FUNCTIONS[implementation_of(backend)]
    states = torch.zeros(1, 1, 4, 8)
    documents = Documents.of_whole_rows(1, 4, CPU)
    with pytest.raises(InputError, match=f"{words}.*use 'eager'"):
        attend(None, states, states, states, None, documents=documents, **options)


def test_auto_is_what_the_device_has() -> None:
    cuda = torch.device("cuda")
    assert choose_backend("auto", CPU, torch.float32) == "varlen"
    assert choose_backend("auto", cuda, torch.bfloat16) == "varlen"
    assert choose_backend("auto", cuda, torch.float32) == "flex"
    assert choose_backend("eager", cuda, torch.float32) == "eager"
    with pytest.raises(InputError, match="backward pass for GPUs only"):
        choose_backend("flex", CPU, torch.float32)
    with pytest.raises(InputError, match="needs bf16 on a GPU"):
        choose_backend("varlen", cuda, torch.float32)


def test_eager_gets_a_mask_to_add() -> None:
    documents = Documents.of_positions(POSITIONS, CPU)
    mask = attention_inputs("eager", documents, torch.float32, None)["attention_mask"]
    assert mask.dtype == torch.float32
    assert set(mask.unique().tolist()) == {torch.finfo(torch.float32).min, 0.0}
    mask = attention_inputs("sdpa", documents, torch.float32, None)["attention_mask"]
    assert mask.dtype == torch.bool
