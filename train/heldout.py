"""Held-out rows, and a model's loss on them by source and by kind of task.

Rank r of n takes rows r, r + n, ...; all ranks go through the model equally often, on rows of
padding where they have none left, because with ZeRO-3 every one needs all.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import orjson
import torch

from pipeline import storage
from pipeline.contracts import PairKind
from pipeline.loader.batch import IGNORE_LABEL, make_batch
from pipeline.loader.packed import HELDOUT, open_rows
from pipeline.rows import RowBlock, empty_rows, join_layouts
from pipeline.shards import read_lines
from train.model import ModelInputs

Responses = list[tuple[int, int, str]]
"""Token ranges of a row's responses, and the kind of each."""
Forward = Callable[[ModelInputs], tuple[torch.Tensor, torch.Tensor]]
_INDEX_SUFFIX = ".index.jsonl.zst"
_ROWS_IN_MEMORY = 1024


@dataclass(frozen=True)
class HeldoutRow:
    """One row to evaluate on."""

    source: str
    block: RowBlock
    """The row alone."""
    responses: Responses


@dataclass(frozen=True)
class HeldoutRows:
    """A share of the rows; made by `read_heldout`."""

    rows: list[HeldoutRow]
    num_rows: int
    """Rows of the largest share: this one is filled up to as many."""
    padding: RowBlock
    """One row of padding."""
    sources: list[str]
    """Of all shares together."""


@dataclass
class LossSum:
    """Cross-entropy over tokens."""

    loss: float = 0.0
    """Sum, in nats."""
    tokens: float = 0.0

    @property
    def mean(self) -> float:
        """Mean loss of a token, in nats."""
        return self.loss / max(1.0, self.tokens)

    def summary(self) -> dict[str, float | int]:
        """Loss, perplexity and number of tokens."""
        perplexity = math.exp(min(self.mean, 700.0))
        return {"loss": self.mean, "perplexity": perplexity, "tokens": int(self.tokens)}


@dataclass(frozen=True)
class HeldoutLoss:
    """What an evaluation found."""

    by_source: dict[str, LossSum]
    """All trained tokens of each source."""
    by_kind: dict[str, LossSum]
    """Tokens of responses, by kind of pair."""

    def metrics(self) -> dict[str, float]:
        """For `metrics.jsonl`."""
        found = {}
        for source, losses in self.by_source.items():
            found[f"heldout/{source}/loss"] = losses.mean
            found[f"heldout/{source}/perplexity"] = float(losses.summary()["perplexity"])
        for kind, losses in self.by_kind.items():
            found[f"heldout/kind/{kind}/loss"] = losses.mean
        return found


def read_heldout(folder: str, max_rows: int, share: int = 0, num_shares: int = 1) -> HeldoutRows:
    """A share of the first held-out rows of every source.

    Args:
        folder: of the rows.
        max_rows: rows of each source, over all shares.
        share: which of `num_shares`.
        num_shares: how many there are.

    Raises:
        InputError: packing is not complete.
    """
    packed = open_rows(folder, HELDOUT)
    found: list[HeldoutRow] = []
    at = 0
    for name, size in sorted(packed.sizes.num_rows.items()):
        if not size:
            continue
        source, responses = packed.source(name), _responses(folder, name)
        num_rows = min(max_rows, size)
        for first in range(0, num_rows, _ROWS_IN_MEMORY):
            end = min(first + _ROWS_IN_MEMORY, num_rows)
            block = source.gather(source.table.in_order(first, end))
            for row in range(end - first):
                kinds = next(responses, [])
                if at % num_shares == share:
                    found.append(HeldoutRow(name, block.slice(row, row + 1), kinds))
                at += 1
    padding = empty_rows(1, packed.seq_len, packed.token_dtype)
    sources = sorted(name for name, size in packed.sizes.num_rows.items() if size)
    return HeldoutRows(found, math.ceil(at / num_shares), padding, sources)


def _responses(folder: str, source: str) -> Iterator[Responses]:
    """Of a source's held-out rows in order, as the packing stage noted them."""
    split = storage.join(folder, source, HELDOUT)
    for name in storage.list_files(split):
        if name.endswith(_INDEX_SUFFIX):
            for line in read_lines(storage.join(split, name)):
                pieces = orjson.loads(line)
                yield [tuple(each) for piece in pieces for each in piece.get("responses", [])]


@torch.no_grad()
def evaluate(
    forward: Forward,
    heldout: HeldoutRows,
    device: torch.device,
    micro_rows: int = 1,
    has_document_mask: bool = True,
    on_progress: Callable[[int], None] | None = None,
) -> HeldoutLoss:
    """The losses of a model on held-out rows, those of this rank alone.

    Args:
        forward: a `PackedCausalLM`, or an engine around one.
        heldout: what to evaluate on.
        device: of the model.
        micro_rows: rows at once.
        has_document_mask: as the model was trained.
        on_progress: told how many rows are done.
    """
    by_source: dict[str, LossSum] = defaultdict(LossSum)
    by_kind: dict[str, LossSum] = defaultdict(LossSum)
    for start in range(0, heldout.num_rows, micro_rows):
        chosen = heldout.rows[start : start + micro_rows]
        blocks = [row.block for row in chosen]
        blocks += [heldout.padding] * (micro_rows - len(blocks))
        joined = RowBlock(
            np.concatenate([block.tokens for block in blocks]),
            join_layouts([block.layout for block in blocks]),
        )
        batch = make_batch(joined, np.zeros(micro_rows))
        inputs = ModelInputs.of(batch, device, has_document_mask=has_document_mask)
        losses_BT = forward(inputs)[1].double().cpu().numpy()
        for row, labels, losses in zip(chosen, batch.labels, losses_BT, strict=False):
            is_trained = labels != IGNORE_LABEL
            _add(by_source[row.source], losses, is_trained)
            for first, end, kind in row.responses:
                places = np.zeros(len(labels), dtype=bool)
                places[max(0, first - 1) : end - 1] = True  # a label stands before its token
                _add(by_kind[kind], losses, is_trained & places)
        if on_progress is not None:
            on_progress(min(start + micro_rows, len(heldout.rows)))
    return HeldoutLoss(dict(by_source), dict(by_kind))


def add_up(
    losses: HeldoutLoss, sources: Sequence[str], sum_over_ranks: Callable[[np.ndarray], np.ndarray]
) -> HeldoutLoss:
    """The losses of all ranks together; those with no token at all are left out.

    Args:
        losses: of this rank.
        sources: of all ranks.
        sum_over_ranks: adds up arrays.
    """
    kinds: tuple[str, ...] = get_args(PairKind)
    found = [losses.by_source.get(name, LossSum()) for name in sources]
    found += [losses.by_kind.get(name, LossSum()) for name in kinds]
    sums = sum_over_ranks(np.array([[each.loss, each.tokens] for each in found]).reshape(-1))
    each = [LossSum(*pair) for pair in sums.reshape(-1, 2).tolist()]

    def named(names: Sequence[str], values: Sequence[LossSum]) -> dict[str, LossSum]:
        return {name: value for name, value in zip(names, values, strict=True) if value.tokens}

    return HeldoutLoss(named(sources, each[: len(sources)]), named(kinds, each[len(sources) :]))


def _add(total: LossSum, losses: np.ndarray, places: np.ndarray) -> None:
    total.loss += float(losses[places].sum())
    total.tokens += int(places.sum())
