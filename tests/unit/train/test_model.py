"""The document mask: packed rows give each document the loss it has alone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import InputError
from pipeline.loader.batch import make_batch
from pipeline.packing.plan import build_rows, plan_rows
from train.config import ModelConfig
from train.model import build_model, document_mask, token_losses

SHAPE = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def batch_of(documents: list[np.ndarray], seq_len: int):
    plan = plan_rows([len(document) for document in documents], seq_len)
    block = build_rows(documents, plan, seq_len, 0, np.dtype(np.uint16))
    batch = make_batch(block, np.zeros(block.num_rows))
    names = ("input_ids", "labels", "positions", "segment_ids")
    return plan, [torch.from_numpy(getattr(batch, name)) for name in names]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_and_unpacked_losses_are_equal(tokenizer_folder: Path, attention: str) -> None:
    model = build_model(ModelConfig(shape=SHAPE, attention=attention), str(tokenizer_folder), 0)
    model.eval()
    random = np.random.default_rng(0)
    documents = [random.integers(2, 250, size=n).astype(np.uint16) for n in (9, 20, 5, 14, 7)]
    plan, inputs = batch_of(documents, 32)
    assert max(len(row) for row in plan) > 1, "nothing is packed, the test would be vacuous"
    with torch.no_grad():
        packed = token_losses(model, *inputs)
        unmasked = token_losses(model, *inputs[:3], None)
        for row, pieces in enumerate(plan):
            at = 0
            for number, piece in enumerate(pieces):
                _, alone = batch_of([documents[piece.document]], piece.length)
                expected = token_losses(model, *alone)[0]
                found = packed[row, at : at + piece.length]
                torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
                if number:
                    leaked = unmasked[row, at : at + piece.length]
                    assert not torch.allclose(leaked, expected, rtol=0, atol=1e-5)
                at += piece.length


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_training_on_packed_and_on_unpacked_rows_is_the_same(
    tokenizer_folder: Path, attention: str
) -> None:
    """Ten steps on rows of several documents and on rows of one; then each document's loss."""
    random = np.random.default_rng(1)
    lengths = (9, 20, 5, 14, 7, 32, 27)
    documents = [random.integers(2, 250, size=n).astype(np.uint16) for n in lengths]
    alone = [batch_of([document], 32)[1] for document in documents]
    unpacked = [torch.cat(arrays) for arrays in zip(*alone, strict=True)]
    plan, packed = batch_of(documents, 32)
    assert len(plan) < len(documents), "nothing is packed, the test would be vacuous"
    found = []
    for inputs in (packed, unpacked):
        config = ModelConfig(shape=SHAPE, attention=attention)
        model = build_model(config, str(tokenizer_folder), 0)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        for _ in range(10):
            optimizer.zero_grad()
            losses = token_losses(model, *inputs)
            (losses.sum() / (inputs[1] != -100).sum()).backward()
            optimizer.step()
        with torch.no_grad():
            found.append([float(token_losses(model, *each).sum()) for each in alone])
            untrained = build_model(config, str(tokenizer_folder), 0)
            before = [float(token_losses(untrained, *each).sum()) for each in alone]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)
    assert max(np.array(found[0]) / np.array(before)) < 0.9, "nothing was learned"


def test_mask_shape_and_content() -> None:
    mask = document_mask(torch.tensor([[0, 0, 1, -1]]))[0, 0]
    assert mask.int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_an_unknown_shape_field_is_named(tokenizer_folder: Path) -> None:
    config = ModelConfig(shape=SHAPE | {"hidden_sizes": 3})
    with pytest.raises(InputError, match="hidden_sizes not known to LlamaConfig"):
        build_model(config, str(tokenizer_folder), 0)


def test_a_vocabulary_too_small_is_refused(tokenizer_folder: Path) -> None:
    config = ModelConfig(shape=SHAPE | {"vocab_size": 10})
    with pytest.raises(InputError, match="vocabulary"):
        build_model(config, str(tokenizer_folder), 0)
