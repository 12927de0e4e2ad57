"""Attention within the documents of packed rows, by several backends.

Two rows of five tokens with documents a (3 tokens), b, c and padding:

    rows      a a a b b      flat   a a a b b c c c c -     bounds  0 3 5 9 10
              c c c c -             0         5

`varlen` computes each document by itself: FlashAttention over all of them in one call on a GPU,
SDPA one by one elsewhere. `flex` skips the blocks of a row where no two tokens share a document.
`sdpa` and `eager` are the model's own, with a dense mask.

B: rows, T: seq_len, N: B * T, H: heads, D: head size.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from pipeline.errors import InputError
from train.config import Attention

_REGISTERED = {"varlen": "ipt_varlen", "flex": "ipt_flex"}


@dataclass(frozen=True)
class Documents:
    """Where documents begin and end in rows that a model takes at once."""

    lengths: list[int]
    """Of all documents and paddings, row by row; they add up to B * T."""
    num_rows: int
    """B."""
    device: torch.device
    """Where the model computes."""

    @classmethod
    def of_positions(cls, positions_BT: np.ndarray, device: torch.device) -> "Documents":
        """From positions that begin at 0 with every document."""
        flat = positions_BT.reshape(-1)
        edges = np.append(np.flatnonzero(flat == 0), len(flat))
        return cls(np.diff(edges).tolist(), len(positions_BT), device)

    @classmethod
    def of_whole_rows(cls, num_rows: int, seq_len: int, device: torch.device) -> "Documents":
        """Each row as one document."""
        return cls([seq_len] * num_rows, num_rows, device)

    @property
    def seq_len(self) -> int:
        """T."""
        return sum(self.lengths) // self.num_rows

    @cached_property
    def bounds(self) -> torch.Tensor:
        """(documents + 1,) int32: where each begins in the flat order, and where the last ends."""
        edges = np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int32)
        bounds = torch.from_numpy(edges).to(self.device, non_blocking=True)
        torch._dynamo.mark_dynamic(bounds, 0)  # compiled once for any number of documents
        return bounds

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest document."""
        return max(self.lengths)

    @cached_property
    def numbers_BT(self) -> torch.Tensor:
        """(B, T) int32 number of each token's document, over all rows."""
        numbers = np.repeat(np.arange(len(self.lengths), dtype=np.int32), self.lengths)
        return torch.from_numpy(numbers.reshape(self.num_rows, -1)).to(self.device)

    def mask(self, window: int | None = None) -> torch.Tensor:
        """(B, 1, T, T) bool: True where a token may look, at its own document up to itself.

        Args:
            window: at most so many tokens back, itself included; None: to the beginning.
        """
        same = self.numbers_BT[:, None, :, None] == self.numbers_BT[:, None, None, :]
        return same & _causal(self.seq_len, window, self.device)

    @cached_property
    def block_mask(self) -> Any:
        """FlexAttention's mask of the same pairs."""
        from torch.nn.attention.flex_attention import create_block_mask

        numbers_BT = self.numbers_BT

        def may_look(row: Any, _head: Any, query: Any, key: Any) -> Any:
            return (numbers_BT[row, query] == numbers_BT[row, key]) & (key <= query)

        size = self.seq_len
        return create_block_mask(may_look, self.num_rows, None, size, size, device=self.device)


def _causal(size: int, window: int | None, device: torch.device) -> torch.Tensor:
    """(T, T) bool."""
    causal = torch.ones(size, size, dtype=torch.bool, device=device).tril()
    return causal if window is None else causal.triu(1 - window)


def choose_backend(wanted: Attention, device: torch.device, dtype: torch.dtype) -> Attention:
    """The backend that `auto` stands for, or the one named.

    Raises:
        InputError: the one named has no kernel for this device and type.
    """
    has_flash = device.type == "cuda" and dtype in (torch.bfloat16, torch.float16)
    if wanted == "auto":
        return "flex" if device.type == "cuda" and not has_flash else "varlen"
    if wanted == "flex" and device.type == "cpu":
        raise InputError(
            "train.model.attention = 'flex': torch has its backward pass for GPUs only; "
            "use 'varlen'"
        )
    if wanted == "varlen" and device.type == "cuda" and not has_flash:
        raise InputError(
            f"train.model.attention = 'varlen' needs bf16 on a GPU, not {dtype}; set "
            f"train.precision = 'bf16', or attention = 'flex'"
        )
    return wanted


def implementation_of(backend: Attention) -> str:
    """The name by which transformers knows a backend; makes ours known to it."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(_REGISTERED["varlen"], _attention(_varlen))
    ALL_ATTENTION_FUNCTIONS.register(_REGISTERED["flex"], _attention(_flex))
    return _REGISTERED.get(backend, backend)


def backend_of(implementation: str) -> str:
    """The backend's name in our config, from the one by which transformers knows it."""
    return {ours: backend for backend, ours in _REGISTERED.items()}.get(
        implementation, implementation
    )


def attention_inputs(
    implementation: str, documents: Documents, dtype: torch.dtype, window: int | None
) -> dict[str, Any]:
    """What a model's forward pass has to be given for its attention to keep to the documents.

    Args:
        implementation: by `implementation_of`.
        documents: of the rows.
        dtype: of the scores, for `eager`.
        window: of the model's sliding attention, for dense masks; None: it has none.
    """
    if implementation in _REGISTERED.values():
        if documents.device.type == "cuda":  # made here, outside of what is compiled
            _ = documents.bounds, documents.longest
        return {"documents": documents}
    mask = documents.mask(window)
    if implementation == "eager":  # adds its mask to the scores instead of selecting by it
        lowest = torch.zeros((), dtype=dtype, device=mask.device)
        mask = torch.where(mask, lowest, torch.finfo(dtype).min)
    return {"attention_mask": mask}


def _attention(kernel: Any) -> Any:
    """A function of transformers' signature around one of our kernels."""

    def attend(
        module: Any,
        query_BHTD: torch.Tensor,
        key_BHTD: torch.Tensor,
        value_BHTD: torch.Tensor,
        attention_mask: Any,
        scaling: float | None = None,
        dropout: float = 0.0,
        documents: Documents | None = None,
        sliding_window: int | None = None,
        **others: Any,
    ) -> tuple[torch.Tensor, None]:
        assert documents is not None, "the model was not given its documents"
        _refuse(others, dropout)
        # Under autocast, positions leave query and key in fp32, which FlashAttention has not.
        states = [each.to(value_BHTD.dtype) for each in (query_BHTD, key_BHTD, value_BHTD)]
        return kernel(*states, documents, scaling, sliding_window), None

    return attend


def _varlen(
    query_BHTD: torch.Tensor,
    key_BHTD: torch.Tensor,
    value_BHTD: torch.Tensor,
    documents: Documents,
    scale: float | None,
    window: int | None,
) -> torch.Tensor:
    """Each document by itself; (B, T, H, D)."""
    query, key, value = (
        each.transpose(1, 2).flatten(0, 1) for each in (query_BHTD, key_BHTD, value_BHTD)
    )
    attend = _flash_varlen if query.is_cuda else _sdpa_varlen
    output_NHD = attend(query, key, value, documents, scale, window)
    return output_NHD.view(documents.num_rows, -1, *output_NHD.shape[1:])


def _flash_varlen(
    query_NHD: torch.Tensor,
    key_NHD: torch.Tensor,
    value_NHD: torch.Tensor,
    documents: Documents,
    scale: float | None,
    window: int | None,
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    longest = documents.longest
    has_groups = query_NHD.shape[1] != key_NHD.shape[1]
    options: dict[str, Any] = {"enable_gqa": True} if has_groups else {}  # torch 2.11 has no such
    output_NHD: torch.Tensor = varlen_attn(  # type: ignore[assignment]
        query_NHD,
        key_NHD,
        value_NHD,
        documents.bounds,
        documents.bounds,
        longest,
        longest,
        scale=scale,
        window_size=(-1 if window is None else window - 1, 0),
        **options,
    )
    return output_NHD


@torch.compiler.disable  # type: ignore[untyped-decorator]  # else anew for each batch's lengths
def _sdpa_varlen(
    query_NHD: torch.Tensor,
    key_NHD: torch.Tensor,
    value_NHD: torch.Tensor,
    documents: Documents,
    scale: float | None,
    window: int | None,
) -> torch.Tensor:
    # `split` and `cat` are each other's backward pass; slicing would fill the whole with zeros
    # for every document.
    lengths = documents.lengths
    parts = [torch.split(tensor, lengths) for tensor in (query_NHD, key_NHD, value_NHD)]
    has_groups = query_NHD.shape[1] != key_NHD.shape[1]
    outputs = []
    for query, key, value in zip(*parts, strict=True):
        is_whole = window is None or len(query) <= window
        output = scaled_dot_product_attention(
            query.transpose(0, 1)[None],
            key.transpose(0, 1)[None],
            value.transpose(0, 1)[None],
            attn_mask=None if is_whole else _causal(len(query), window, query.device),
            is_causal=is_whole,
            scale=scale,
            enable_gqa=has_groups,
        )
        outputs.append(output[0].transpose(0, 1))
    return torch.cat(outputs)


@torch.compiler.disable  # type: ignore[untyped-decorator]  # it is compiled by itself
def _flex(
    query_BHTD: torch.Tensor,
    key_BHTD: torch.Tensor,
    value_BHTD: torch.Tensor,
    documents: Documents,
    scale: float | None,
    window: int | None,
) -> torch.Tensor:
    """FlexAttention over whole rows; (B, T, H, D)."""
    if window is not None and window < documents.seq_len:
        raise InputError(
            f"train.model.attention = 'flex' has no sliding window ({window} tokens, less than "
            f"pack.seq_len, {documents.seq_len}); use 'varlen'"
        )
    output_BHTD = _flex_kernel(query_BHTD.is_cuda)(
        query_BHTD,
        key_BHTD,
        value_BHTD,
        block_mask=documents.block_mask,
        scale=scale,
        enable_gqa=query_BHTD.shape[1] != key_BHTD.shape[1],
    )
    output: torch.Tensor = output_BHTD.transpose(1, 2).contiguous()
    return output


@cache
def _flex_kernel(is_compiled: bool) -> Any:
    """The compiled kernel where there is one for training: on a GPU."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False) if is_compiled else flex_attention


def _refuse(others: dict[str, Any], dropout: float) -> None:
    """Refuse what would be left out in silence."""
    extras = {"softcap": "soft caps", "s_aux": "attention sinks", "position_bias": "a bias"}
    found = [words for name, words in extras.items() if others.get(name) is not None]
    if dropout:
        found.append("attention dropout")
    if found:
        raise InputError(
            f"train.model.attention: 'varlen' and 'flex' have no {', '.join(found)}, which this "
            f"model needs; use 'eager'"
        )
