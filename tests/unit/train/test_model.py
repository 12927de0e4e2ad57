"""The model on packed rows: each document has the loss it has alone, on every backend."""

import functools
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from pipeline.errors import InputError
from pipeline.loader.batch import Batch, make_batch
from pipeline.packing.plan import build_rows, plan_rows
from tests.tiny_model import save_tiny_model
from train.attention import implementation_of
from train.config import LossConfig, ModelConfig
from train.model import (
    ModelInputs,
    PackedCausalLM,
    build_model,
    compile_layers,
    load_shape,
    require_all_trained,
    require_separate_documents,
)

SHAPE = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
MIXTRAL = SHAPE | {
    "model_type": "mixtral",
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "sliding_window": None,
}
BACKENDS = ["varlen", "sdpa", "eager"]
CPU = torch.device("cpu")


def batch_of(documents: list[np.ndarray], seq_len: int) -> tuple[list, Batch]:
    plan = plan_rows([len(document) for document in documents], seq_len)
    block = build_rows(documents, plan, seq_len, 0, np.dtype(np.uint16))
    return plan, make_batch(block, np.zeros(block.num_rows))


def model_of(tokenizer_folder: Path, shape: dict, attention: str) -> PackedCausalLM:
    is_flex = attention == "flex"  # which is refused for training on a CPU
    config = ModelConfig(shape=shape, attention="varlen" if is_flex else attention)
    model = build_model(config, str(tokenizer_folder), 0)
    if is_flex:
        model.set_attn_implementation(implementation_of("flex"))
    return PackedCausalLM(model)


def losses_of(model: PackedCausalLM, batch: Batch, has_document_mask: bool = True) -> torch.Tensor:
    return model(ModelInputs.of(batch, CPU, has_document_mask=has_document_mask))[1]


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("attention", [*BACKENDS, "flex"])
@pytest.mark.parametrize(
    "shape",
    [
        SHAPE,
        SHAPE | {"model_type": "qwen2"},
        SHAPE | {"model_type": "mistral", "num_key_value_heads": 1},
        MIXTRAL,
    ],
    ids=["llama", "qwen2", "mistral-mqa", "mixtral"],
)
def test_packed_and_unpacked_losses_are_equal(
    tokenizer_folder: Path, attention: str, shape: dict
) -> None:
    model = model_of(tokenizer_folder, shape, attention).eval()
    random = np.random.default_rng(0)
    documents = [random.integers(2, 250, size=n).astype(np.uint16) for n in (9, 20, 5, 14, 7)]
    plan, batch = batch_of(documents, 32)
    assert max(len(row) for row in plan) > 1, "nothing is packed, the test would be vacuous"
    with torch.no_grad():
        packed = losses_of(model, batch)
        unmasked = losses_of(model, batch, has_document_mask=False)
        for row, pieces in enumerate(plan):
            at = 0
            for number, piece in enumerate(pieces):
                _, alone = batch_of([documents[piece.document]], piece.length)
                expected = losses_of(model, alone)[0]
                found = packed[row, at : at + piece.length]
                torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
                if number:
                    leaked = unmasked[row, at : at + piece.length]
                    assert not torch.allclose(leaked, expected, rtol=0, atol=1e-5)
                at += piece.length


@pytest.mark.parametrize("attention", BACKENDS)
def test_training_on_packed_and_on_unpacked_rows_is_the_same(
    tokenizer_folder: Path, attention: str
) -> None:
    """Ten steps on rows of several documents and on rows of one; then each document's loss."""
    random = np.random.default_rng(1)
    lengths = (9, 20, 5, 14, 7, 32, 27)
    documents = [random.integers(2, 250, size=n).astype(np.uint16) for n in lengths]
    alone = [batch_of([document], 32)[1] for document in documents]
    plan, packed = batch_of(documents, 32)
    assert len(plan) < len(documents), "nothing is packed, the test would be vacuous"
    num_labels = int((packed.labels != -100).sum())
    found = []
    for batches in ([packed], alone):
        model = model_of(tokenizer_folder, SHAPE, attention)
        optimizer = torch.optim.SGD(model.causal_lm.parameters(), lr=0.5)
        with torch.no_grad():
            before = [float(losses_of(model, each).sum()) for each in alone]
        for _ in range(10):
            optimizer.zero_grad()
            for batch in batches:
                scales = np.full(batch.num_rows, 1 / num_labels)
                model(ModelInputs.of(batch, CPU, scales))[0].backward()
            optimizer.step()
        with torch.no_grad():
            found.append([float(losses_of(model, each).sum()) for each in alone])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)
    assert max(np.array(found[0]) / np.array(before)) < 0.9, "nothing was learned"


def test_the_loss_is_that_of_transformers(tokenizer_folder: Path) -> None:
    """On one document that fills its row, with the gradients of every weight."""
    random = np.random.default_rng(2)
    _, batch = batch_of([random.integers(2, 250, size=32).astype(np.uint16)], 32)
    model = model_of(tokenizer_folder, SHAPE, "varlen")
    model(ModelInputs.of(batch, CPU, np.full(1, 1 / 31)))[0].backward()
    theirs = build_model(ModelConfig(shape=SHAPE, attention="eager"), str(tokenizer_folder), 0)
    ids = torch.from_numpy(batch.input_ids).long()
    theirs(input_ids=ids, labels=ids).loss.backward()
    expected = dict(theirs.named_parameters())
    for name, weight in model.causal_lm.named_parameters():
        torch.testing.assert_close(weight.grad, expected[name].grad, rtol=1e-4, atol=1e-6)


def test_experts_are_kept_balanced_as_transformers_does(tokenizer_folder: Path) -> None:
    random = np.random.default_rng(3)
    _, batch = batch_of([random.integers(2, 250, size=32).astype(np.uint16)], 32)
    shape = MIXTRAL | {"router_aux_loss_coef": 0.5}
    inputs = ModelInputs.of(batch, CPU, np.full(1, 1 / 31))
    total = model_of(tokenizer_folder, shape, "varlen")(inputs)[0]
    theirs = build_model(ModelConfig(shape=shape, attention="eager"), str(tokenizer_folder), 0)
    ids = torch.from_numpy(batch.input_ids).long()
    expected = theirs(input_ids=ids, labels=ids, output_router_logits=True)
    assert expected.aux_loss > 0
    torch.testing.assert_close(total, expected.loss, rtol=1e-4, atol=1e-5)


def test_few_labels_skip_the_head_for_the_others(tokenizer_folder: Path) -> None:
    random = np.random.default_rng(4)
    _, batch = batch_of([random.integers(2, 250, size=32).astype(np.uint16)], 32)
    model = model_of(tokenizer_folder, SHAPE, "varlen")
    everything = losses_of(model, batch).detach()
    batch.labels[:, :20] = -100
    inputs = ModelInputs.of(batch, CPU, np.full(1, 0.5))
    assert inputs.kept_K is not None
    assert inputs.kept_K.tolist() == list(range(20, 31))
    total, losses = model(inputs)
    torch.testing.assert_close(losses[:, 20:], everything[:, 20:])
    assert not losses[:, :20].any()
    torch.testing.assert_close(total, everything[:, 20:].sum() * 0.5)


def test_z_loss_is_added(tokenizer_folder: Path) -> None:
    random = np.random.default_rng(5)
    _, batch = batch_of([random.integers(2, 250, size=16).astype(np.uint16)], 16)
    config = ModelConfig(shape=SHAPE)
    causal_lm = build_model(config, str(tokenizer_folder), 0)
    plain = PackedCausalLM(causal_lm)(ModelInputs.of(batch, CPU))[0]
    with_z = PackedCausalLM(causal_lm, LossConfig(z_loss=0.1))(ModelInputs.of(batch, CPU))[0]
    logits = (
        causal_lm.set_attn_implementation("eager")
        or causal_lm(input_ids=torch.from_numpy(batch.input_ids).long()).logits
    )
    z = logits[0, :15].logsumexp(dim=1).square().sum()
    torch.testing.assert_close(with_z - plain, 0.1 * z, rtol=1e-4, atol=1e-4)


def test_a_dense_mask_cannot_slide_in_some_layers_only(tokenizer_folder: Path) -> None:
    shape = SHAPE | {
        "model_type": "qwen2",
        "use_sliding_window": True,
        "sliding_window": 8,
        "max_window_layers": 1,
    }
    _, batch = batch_of([np.arange(2, 18).astype(np.uint16)], 16)
    with pytest.raises(InputError, match=r"only some layers of qwen2.*use 'varlen'"):
        losses_of(model_of(tokenizer_folder, shape, "sdpa"), batch)
    assert losses_of(model_of(tokenizer_folder, shape, "varlen"), batch).any()


def test_soft_caps_of_logits_are_refused(tokenizer_folder: Path) -> None:
    shape = SHAPE | {"model_type": "gemma2", "head_dim": 8}
    with pytest.raises(InputError, match="final_logit_softcapping"):
        model_of(tokenizer_folder, shape, "eager")


@pytest.mark.parametrize(
    ("preset", "millions"),
    [
        ("mistral-500m", 568),
        ("mistral-1.3b", 1473),
        ("llama-135m", 125),
        ("llama-1b", 1039),
        ("qwen3-0.6b", 473),
        ("moe-small", 267),
    ],
)
def test_a_preset_has_the_size_it_is_named_after(
    tokenizer_folder: Path, preset: str, millions: int
) -> None:
    """With 32,000 words, which the small models' own vocabularies exceed."""
    from transformers import AutoModelForCausalLM

    config = ModelConfig(preset=preset, shape={"vocab_size": 32_000})
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(load_shape(config, str(tokenizer_folder)))
    assert sum(each.numel() for each in model.parameters()) / 1e6 == pytest.approx(millions, abs=1)


def test_an_unknown_shape_field_is_named(tokenizer_folder: Path) -> None:
    config = ModelConfig(shape=SHAPE | {"hidden_sizes": 3})
    with pytest.raises(InputError, match="hidden_sizes not known to LlamaConfig"):
        build_model(config, str(tokenizer_folder), 0)


def test_a_vocabulary_too_small_is_refused(tokenizer_folder: Path) -> None:
    config = ModelConfig(shape=SHAPE | {"vocab_size": 10})
    with pytest.raises(InputError, match="vocabulary"):
        build_model(config, str(tokenizer_folder), 0)


@pytest.mark.parametrize("attention", BACKENDS)
def test_models_that_keep_documents_apart_are_let_through(
    tokenizer_folder: Path, attention: str
) -> None:
    require_separate_documents(model_of(tokenizer_folder, SHAPE, attention))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"model_type": "xglm", "d_model": 32, "ffn_dim": 64, "num_layers": 2}, "see each other"),
        ({"model_type": "mamba", "hidden_size": 32, "num_hidden_layers": 2}, "see each other"),
        ({"model_type": "gptj", "n_embd": 32, "n_layer": 2, "n_head": 4}, "does not work with"),
    ],
    ids=["xglm", "mamba", "gptj"],
)
def test_models_that_do_not_are_refused(tokenizer_folder: Path, shape: dict, words: str) -> None:
    heads = {"attention_heads": 4} if shape["model_type"] == "xglm" else {}
    rotary = {"rotary_dim": 4} if shape["model_type"] == "gptj" else {}
    with pytest.raises(InputError, match=f"{words}.*document_mask = false") as caught:
        require_separate_documents(model_of(tokenizer_folder, shape | heads | rotary, "varlen"))
    assert "'varlen'" in str(caught.value), "the name in the config, not the one inside"


def test_weights_that_are_not_trained_are_refused(tokenizer_folder: Path) -> None:
    model = model_of(tokenizer_folder, SHAPE, "varlen").causal_lm
    require_all_trained(model)
    model.model.norm.weight.requires_grad_(False)
    with pytest.raises(InputError, match=r"such as model\.norm\.weight, which checkpoints"):
        require_all_trained(model)


def test_compiled_layers_share_their_code_and_change_no_loss(
    tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More layers than recompilations are allowed for: the last ones would be left as they are."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    model = model_of(tokenizer_folder, SHAPE | {"num_hidden_layers": 12}, "varlen")
    _, batch = batch_of([np.arange(2, 14), np.arange(20, 25), np.arange(3, 9)], 24)
    expected = losses_of(model, batch)
    torch._dynamo.reset()
    counters.clear()
    compile_layers(model.causal_lm)
    torch.testing.assert_close(losses_of(model, batch), expected)
    frames = counters["frames"]
    assert 0 < frames["total"] == frames["ok"] < 12


class Payload:
    """What a pickle does as it is opened."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.touch, (self.target,)


def test_a_pickle_in_the_place_of_weights_runs_no_code(tmp_path: Path) -> None:
    folder, ran = save_tiny_model(tmp_path / "model"), tmp_path / "ran"
    (folder / "model.safetensors").unlink()
    torch.save({"model.norm.weight": Payload(ran)}, folder / "pytorch_model.bin")
    torch.load(folder / "pytorch_model.bin", weights_only=False)
    assert ran.exists(), "the payload does something where nobody looks"
    ran.unlink()
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        build_model(ModelConfig(init_from=str(folder)), str(folder), 0)
    assert not ran.exists()
