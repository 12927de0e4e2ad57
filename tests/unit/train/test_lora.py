"""Adapters beside frozen weights: what is trained, and what it is merged to."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import InputError
from pipeline.loader.batch import make_batch
from tests.checkpoint_files import write_checkpoint
from tests.packed import random_rows
from tests.tiny_model import save_tiny_model
from train.checkpoints.reading import CheckpointReader
from train.config import LoraConfig, ModelConfig, OptimizerConfig
from train.lora import add_lora, export_lora
from train.model import ModelInputs, PackedCausalLM, build_model
from train.optimizer import make_optimizer

LORA = LoraConfig(rank=4, alpha=8)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model."""
    return save_tiny_model(tmp_path_factory.mktemp("base"))


def model_of(base: Path, lora: LoraConfig | None = LORA, seed: int = 3) -> torch.nn.Module:
    causal_lm = build_model(ModelConfig(init_from=str(base)), str(base), 0)
    if lora is not None:
        add_lora(causal_lm, lora, str(base), seed)
    return causal_lm


def inputs() -> ModelInputs:
    batch = make_batch(random_rows(2, 32, 1, 250), np.zeros(2))
    return ModelInputs.of(batch, torch.device("cpu"), np.full(2, 1 / 62))


def trained_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: each for name, each in model.named_parameters() if each.requires_grad}


def randomised(model: torch.nn.Module) -> torch.nn.Module:
    """The model as if it had been trained."""
    torch.manual_seed(11)
    with torch.no_grad():
        for weight in trained_of(model).values():
            weight.copy_(torch.randn(weight.shape) / 10)
    return model


def test_all_linear_layers_but_the_head_get_one(base: Path) -> None:
    trained = trained_of(model_of(base))
    assert len(trained) == 2 * 2 * 7
    assert not any("lm_head" in name or "embed" in name for name in trained)
    first = "model.layers.1.mlp.down_proj.lora_{}.default.weight"
    assert trained[first.format("A")].shape == (4, 256)
    assert trained[first.format("B")].shape == (128, 4)
    assert {each.dtype for each in trained.values()} == {torch.float32}


def test_the_start_is_the_base_and_follows_from_the_seed(base: Path) -> None:
    plain, found = model_of(base, None), trained_of(model_of(base))
    losses = [PackedCausalLM(each)(inputs())[1] for each in (plain, model_of(base))]
    assert torch.equal(*losses)
    torch.manual_seed(99)
    again, other = trained_of(model_of(base)), trained_of(model_of(base, seed=4))
    assert all(torch.equal(found[name], again[name]) for name in found)
    assert not any(torch.equal(found[name], other[name]) for name in found if "lora_A" in name)


@pytest.mark.parametrize("has_checkpoints", [False, True])
def test_training_changes_adapters_alone(base: Path, has_checkpoints: bool) -> None:
    causal_lm = model_of(base)
    if has_checkpoints:
        causal_lm.gradient_checkpointing_enable({"use_reentrant": False})
    model = PackedCausalLM(causal_lm).train()
    before = {name: each.detach().clone() for name, each in causal_lm.named_parameters()}
    optimizer = torch.optim.SGD(trained_of(causal_lm).values(), lr=0.5)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        total, _ = model(inputs())
        total.backward()
        optimizer.step()
        losses.append(total.item())
    changed = {
        name for name, each in causal_lm.named_parameters() if not torch.equal(each, before[name])
    }
    assert changed == trained_of(causal_lm).keys()
    assert losses[2] < losses[0]
    assert len(make_optimizer(model, OptimizerConfig()).param_groups[0]["params"]) == len(changed)


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (("q_proj", "qproj"), "'qproj' is the name of no linear layer of llama; choose among down"),
        (("embed_tokens",), "'embed_tokens' is the name of no linear layer"),
        (("lm_head",), "'lm_head' is the head, which gets no adapter; choose among down_proj"),
    ],
)
def test_targets_must_be_linear_layers(base: Path, targets: tuple[str], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        model_of(base, LoraConfig(targets=targets))
    assert not str(caught.value).endswith("lm_head")


def test_chosen_targets_get_one(base: Path) -> None:
    trained = trained_of(model_of(base, LoraConfig(targets=("q_proj", "layers.1.mlp.up_proj"))))
    layers = {name.partition(".lora_")[0].removeprefix("model.layers.") for name in trained}
    assert layers == {"0.self_attn.q_proj", "1.self_attn.q_proj", "1.mlp.up_proj"}


def test_it_is_merged_as_peft_does(base: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = randomised(model_of(base))
    marker = write_checkpoint(tmp_path / "checkpoints", trained_of(model), 3)
    reader = CheckpointReader(str(tmp_path / "checkpoints"), marker)
    config = ModelConfig(init_from=str(base))
    merged = dict(export_lora(tmp_path, reader, model_of(base), config, torch.float32))
    loaded = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), tmp_path / "adapter"
    )
    expected = loaded.merge_and_unload().state_dict()
    assert merged.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(merged[name], weight, rtol=1e-5, atol=1e-6)
    before = model_of(base, None).state_dict()
    changed = [name for name in merged if not torch.equal(merged[name], before[name])]
    assert len(changed) == 2 * 7, "the test would be vacuous"


@pytest.mark.filterwarnings("error:fan_in_fan_out")
def test_layers_that_keep_their_weights_turned_are_merged(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, GPT2Config

    shape = GPT2Config(vocab_size=512, n_embd=32, n_layer=1, n_head=4)
    base = save_tiny_model(tmp_path / "base")
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(shape).save_pretrained(base)
    model = randomised(model_of(base)).eval()
    marker = write_checkpoint(tmp_path / "checkpoints", trained_of(model), 1)
    reader = CheckpointReader(str(tmp_path / "checkpoints"), marker)
    config = ModelConfig(init_from=str(base))
    weights = dict(export_lora(tmp_path, reader, model, config, torch.float32))
    merged = AutoModelForCausalLM.from_config(shape).eval()
    merged.load_state_dict(weights, strict=False)
    found, expected = (PackedCausalLM(each)(inputs())[1] for each in (merged, model))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    plain = PackedCausalLM(model_of(base, None).eval())(inputs())[1]
    assert not torch.allclose(plain, expected, atol=1e-2), "the test would be vacuous"
