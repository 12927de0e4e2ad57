"""Merged folders against what peft merges."""

import json
from pathlib import Path

import pytest
import torch

from pipeline.adapters import Adapter, read_adapter
from pipeline.errors import InputError
from pipeline.merging import merged_weights, write_merged
from tests.adapters import save_adapter
from tests.tiny_model import save_tiny_model

TINY = {"vocab_size": 64, "bos_token_id": 0, "eos_token_id": 1}
LAYERS = TINY | {"n_embd": 32, "n_layer": 2, "n_head": 4}
SHAPE = TINY | {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
SHAPES = {
    "tied": ("qwen3", SHAPE | {"head_dim": 8, "tie_word_embeddings": True}),
    "experts": ("mixtral", SHAPE | {"num_local_experts": 4}),
    "turned": ("gpt2", LAYERS),
}


def save_model(folder: Path, kind: str, fields: dict) -> Path:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **fields)).save_pretrained(folder)
    return folder


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def loaded(folder: Path) -> dict[str, torch.Tensor]:
    from transformers import AutoModelForCausalLM

    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    return model.state_dict()


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
@pytest.mark.parametrize("options", [{}, {"use_rslora": True, "rank_pattern": {"q_proj": 2}}])
@pytest.mark.parametrize("shape", list(SHAPES))
def test_merging_equals_pefts(tmp_path: Path, shape: str, options: dict) -> None:
    base = save_model(tmp_path / "base", *SHAPES[shape])
    if shape == "experts":  # peft takes theirs for linear layers, too
        options = options | {"target_modules": ["q_proj", "o_proj"]}
    adapter, expected = save_adapter(tmp_path / "adapter", base, **options)
    target = tmp_path / "merged"
    target.mkdir()
    write_merged(adapter, base, target)
    found, before = loaded(target), loaded(base)
    assert found.keys() == expected.keys() == before.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=1e-5, atol=1e-6)
    changed = {name for name in found if not torch.equal(found[name], before[name])}
    assert changed == set(read_adapter(adapter).factors), "the test would be vacuous"


def test_weights_keep_the_type_of_the_base_or_get_the_one_wanted(
    tmp_path: Path, scratch: Path
) -> None:
    base = save_model(tmp_path / "base", *SHAPES["tied"])
    adapter, expected = save_adapter(tmp_path / "adapter", base)
    read = read_adapter(adapter)
    kept = dict(merged_weights(read, base, scratch))
    assert {each.dtype for each in kept.values()} == {torch.float32}
    cast = dict(merged_weights(read, base, scratch, torch.bfloat16))
    assert cast.keys() == kept.keys()
    for name, weight in cast.items():
        torch.testing.assert_close(weight, expected[name].bfloat16(), rtol=0.01, atol=1e-6)


def test_a_base_with_other_names_on_disk_is_written_anew(tmp_path: Path, scratch: Path) -> None:
    """As gpt2 is on the hub: without the prefix that its weights have in memory."""
    from safetensors.torch import load_file, save_file

    base = save_model(tmp_path / "base", *SHAPES["turned"])
    adapter, expected = save_adapter(tmp_path / "adapter", base)
    file = base / "model.safetensors"
    tensors = load_file(file)
    short = {name.removeprefix("transformer."): each for name, each in tensors.items()}
    save_file(short, file, metadata={"format": "pt"})
    found = dict(merged_weights(read_adapter(adapter), base, scratch))
    name = "transformer.h.1.mlp.c_fc.weight"
    assert name.removeprefix("transformer.") in short
    torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6)
    assert not list(scratch.iterdir())


def test_another_base_is_named(tmp_path: Path, scratch: Path) -> None:
    base = save_model(tmp_path / "base", *SHAPES["tied"])
    read = read_adapter(save_adapter(tmp_path / "adapter", base)[0])
    renamed = Adapter(read.config, {"model.other.weight": next(iter(read.factors.values()))})
    with pytest.raises(InputError, match=r"base .* has no model\.other\.weight, which the adapter"):
        list(merged_weights(renamed, base, scratch))
    assert not list(scratch.iterdir())
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"quantization_config": {}}))
    with pytest.raises(InputError, match="is quantized"):
        list(merged_weights(read, base, scratch))


@pytest.mark.parametrize("has_own", [False, True])
def test_the_tokenizer_is_the_adapters_if_it_has_one(tmp_path: Path, has_own: bool) -> None:
    base = save_tiny_model(tmp_path / "base")
    adapter, _ = save_adapter(tmp_path / "adapter", base)
    if has_own:
        (adapter / "tokenizer_config.json").write_text('{"is_own": true}')
        (adapter / "tokenizer.json").write_text("{}")
        (adapter / "notes.txt").write_text("not of the model")
    target = tmp_path / "merged"
    target.mkdir()
    write_merged(adapter, base, target)
    tokenizer = adapter if has_own else base
    for name in ("tokenizer_config.json", "tokenizer.json"):
        assert (target / name).read_bytes() == (tokenizer / name).read_bytes()
    assert (target / "config.json").read_bytes() == (base / "config.json").read_bytes()
    assert {path.name for path in target.iterdir()} == {
        *("config.json", "generation_config.json", "model.safetensors"),
        *("tokenizer.json", "tokenizer_config.json"),
        *([] if has_own else ["chat_template.jinja"]),
    }
