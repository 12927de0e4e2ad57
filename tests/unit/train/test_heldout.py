"""Held-out loss by source and kind, in shares that add up to the whole."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.loader.batch import IGNORE_LABEL
from pipeline.loader.packed import HELDOUT
from pipeline.shards import write_shard
from tests.packed import pack_documents, random_rows, write_packed
from train.heldout import HeldoutLoss, add_up, evaluate, read_heldout
from train.model import ModelInputs

CPU = torch.device("cpu")


def loss_is_the_label(inputs: ModelInputs) -> tuple[torch.Tensor, torch.Tensor]:
    """A model whose loss on a token is its id."""
    losses = torch.zeros(inputs.input_ids_BT.numel())
    places = slice(None) if inputs.kept_K is None else inputs.kept_K
    losses[places] = inputs.labels_N.clamp(min=0).float()
    return losses.sum(), losses.view(inputs.input_ids_BT.shape)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Five rows of source a in two parts, two of b; of a's rows, responses as an index has them."""
    pair = pack_documents([np.arange(10, 16, dtype="u2"), np.arange(20, 24, dtype="u2")], 10)
    a = [random_rows(3, 10, 0), pair]
    parts = {"a": a, "b": [random_rows(2, 10, 1)]}
    write_packed(tmp_path, parts, 2, split=HELDOUT)
    with write_shard(str(tmp_path), f"a/{HELDOUT}/part-00000000.index.jsonl.zst") as index:
        for row in range(3):
            responses = [[2, 4, "free_form"]] if row == 1 else []
            index.write([{"documents": ["x"], "start": 0, "responses": responses}])
    with write_shard(str(tmp_path), f"a/{HELDOUT}/part-00000001.index.jsonl.zst") as index:
        first = {"documents": ["y"], "start": 0, "responses": [[4, 6, "multiple_choice"]]}
        index.write([first, {"documents": ["z"], "start": 0, "responses": [[6, 8, "free_form"]]}])
    return str(tmp_path)


def whole(folder: str, **settings) -> HeldoutLoss:
    return evaluate(loss_is_the_label, read_heldout(folder, 100), CPU, **settings)


def test_losses_are_summed_by_source_and_kind(folder: str) -> None:
    found = whole(folder, micro_rows=3)
    rows = read_heldout(folder, 100).rows
    tokens = np.concatenate([row.block.tokens for row in rows[:3]])
    pair = [*range(11, 16), *range(21, 24)]
    assert found.by_source["a"].tokens == 3 * 9 + len(pair)
    assert found.by_source["a"].loss == tokens[:, 1:].sum() + sum(pair)
    assert found.by_source["b"].tokens == 18
    assert found.by_kind["multiple_choice"].loss == 14 + 15
    # The first token of a document is nobody's label, so of the second one's two one is left.
    assert found.by_kind["free_form"].loss == tokens[1, 2:4].sum() + 21
    assert found.by_kind["free_form"].tokens == 3
    metrics = found.metrics()
    assert metrics["heldout/kind/multiple_choice/loss"] == 14.5
    assert metrics["heldout/b/perplexity"] == pytest.approx(
        np.exp(min(700, metrics["heldout/b/loss"]))
    )


@pytest.mark.parametrize("num_ranks", [2, 3, 9])
def test_ranks_together_find_what_one_finds(folder: str, num_ranks: int) -> None:
    expected = whole(folder)
    calls, shares = [], []
    for rank in range(num_ranks):
        heldout = read_heldout(folder, 100, rank, num_ranks)
        seen: list[int] = []

        def count(inputs: ModelInputs, seen: list[int] = seen):
            seen.append(int((inputs.labels_N != IGNORE_LABEL).sum()))
            return loss_is_the_label(inputs)

        shares.append((heldout.sources, evaluate(count, heldout, CPU, micro_rows=2)))
        calls.append(len(seen))
    assert len(set(calls)) == 1, "with ZeRO-3, ranks must go through the model equally often"
    vectors: list[np.ndarray] = []

    def collect(values: np.ndarray) -> np.ndarray:
        vectors.append(values)
        return np.sum(vectors, axis=0)

    found = [add_up(losses, sources, collect) for sources, losses in shares][-1]
    assert found == expected


def test_no_more_rows_than_wanted(folder: str) -> None:
    heldout = read_heldout(folder, 2)
    assert [row.source for row in heldout.rows] == ["a", "a", "b", "b"]
    assert heldout.num_rows == 4
    assert heldout.sources == ["a", "b"]
