"""Checkpoints as Hugging Face folders that load to the same model."""

import json
from pathlib import Path

import pytest
import torch

from pipeline.errors import InputError
from pipeline.opening import open_stage
from pipeline.run_folder import RunFolder
from pipeline.stage import PartCommit
from tests.checkpoint_files import write_checkpoint
from tests.packed import random_rows, write_packed
from tests.tiny_model import save_tiny_model
from train.config import ExportConfig, LoraConfig, ModelConfig
from train.export import export_step, run_export
from train.lora import add_lora
from train.model import build_model

SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
SHAPES = {
    "llama": SHAPE | {"model_type": "llama"},
    "tied": SHAPE | {"model_type": "qwen3", "head_dim": 8, "tie_word_embeddings": True},
    "experts": SHAPE | {"model_type": "mixtral", "num_local_experts": 4},
}


def write_run(root: Path, shape: dict, tokenizer_folder: Path) -> tuple[RunFolder, ModelConfig]:
    """A training under way with one checkpoint, after step 2."""
    folder, model = RunFolder(str(root)), ModelConfig(shape=shape)
    rows = {"a-raw": [random_rows(2, 32, 1)]}
    write_packed(Path(folder.rows), rows, 2, str(tokenizer_folder))
    config = {"mixture": {}, "model": model.model_dump(), "rows_per_batch": 1}
    stage = open_stage(folder.train, "train", config, {})
    causal_lm = build_model(model, str(tokenizer_folder), seed=5)
    weights = dict(causal_lm.named_parameters())
    instance = stage.identity.instance
    write_checkpoint(Path(folder.checkpoints), weights, 3, instance=instance)
    heldout = {"step": 2, "heldout/a-raw/loss": 7.5}
    lines = [{"step": step, "loss": 9.0 - step, "data/a-raw/tokens": 31} for step in (1, 2, 3)]
    lines.insert(2, heldout)
    Path(folder.metrics).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder, model


def logits_of(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=torch.arange(2, 20)[None]).logits


@pytest.mark.parametrize("name", list(SHAPES))
@pytest.mark.parametrize("max_shard_gib", [5.0, 2e-5])
def test_an_export_loads_to_the_same_model(
    tmp_path: Path, tokenizer_folder: Path, name: str, max_shard_gib: float
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, model = write_run(tmp_path / "run", SHAPES[name], tokenizer_folder)
    config = ExportConfig(dtype="float32", license="mit", max_shard_gib=max_shard_gib)
    output = tmp_path / "out"
    assert export_step(config, model, folder, 2, output).step == 2
    files = sorted(path.name for path in output.glob("*.safetensors"))
    assert (files == ["model.safetensors"]) == (max_shard_gib == 5.0)
    loaded, info = AutoModelForCausalLM.from_pretrained(output, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    expected = build_model(model, str(tokenizer_folder), seed=5)
    expected.set_attn_implementation("sdpa")
    torch.testing.assert_close(logits_of(loaded), logits_of(expected), rtol=0, atol=1e-6)
    assert AutoTokenizer.from_pretrained(output).eos_token
    card = (output / "README.md").read_text()
    assert card.startswith("---\nlicense: mit\n")
    assert "7.0000 at the last" in card, "losses up to the exported step"
    assert "| a-raw | 62 |" in card
    assert "held-out loss: 7.5000 on a-raw" in card
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"run", "out"}, "something half-written is left"


def test_experts_have_the_names_that_other_engines_know(
    tmp_path: Path, tokenizer_folder: Path
) -> None:
    from safetensors import safe_open

    folder, model = write_run(tmp_path / "run", SHAPES["experts"], tokenizer_folder)
    export_step(ExportConfig(), model, folder, 2, tmp_path / "out")
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as file:
        names = set(file.keys())
        assert file.get_slice("lm_head.weight").get_dtype() == "BF16"
    assert "model.layers.1.block_sparse_moe.experts.3.w2.weight" in names


def test_what_cannot_be_exported_is_said(tmp_path: Path, tokenizer_folder: Path) -> None:
    folder, model = write_run(tmp_path / "run", SHAPES["llama"], tokenizer_folder)
    config, output = ExportConfig(), tmp_path / "out"
    with pytest.raises(InputError, match=r"no checkpoint of step 3 \(there: 2\)"):
        export_step(config, model, folder, 3, output)
    assert export_step(config, model, folder, None, output).step == 2
    with pytest.raises(InputError, match="out exists"):
        export_step(config, model, folder, 2, output)
    data = Path(folder.checkpoints) / "step-00000002" / "rank-00001.safetensors"
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"step 2 is damaged.*rank-00001"):
        export_step(config, model, folder, 2, tmp_path / "other")
    with pytest.raises(InputError, match="no training has begun"):
        export_step(config, model, RunFolder(str(tmp_path / "none")), 2, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_an_export_of_adapters_is_merged_and_has_them_beside_it(
    tmp_path: Path, tokenizer_folder: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = save_tiny_model(tmp_path / "base")
    folder, model = RunFolder(str(tmp_path / "run")), ModelConfig(init_from=str(base))
    lora = LoraConfig(rank=4, alpha=8)
    write_packed(Path(folder.rows), {"a-raw": [random_rows(2, 32, 1)]}, 2, str(tokenizer_folder))
    config = {"mixture": {}, "model": model.model_dump(), "rows_per_batch": 1}
    stage = open_stage(folder.train, "train", config | {"lora": lora.model_dump()}, {})
    causal_lm = build_model(model, str(tokenizer_folder), seed=5)
    add_lora(causal_lm, lora, str(base))
    weights = {name: each for name, each in causal_lm.named_parameters() if each.requires_grad}
    with torch.no_grad():
        for weight in weights.values():
            weight.copy_(torch.randn(weight.shape) / 10)
    write_checkpoint(Path(folder.checkpoints), weights, 3, instance=stage.identity.instance)
    Path(folder.metrics).write_text(json.dumps({"step": 2, "loss": 9.0}) + "\n")
    counts = {"steps": 2}
    stage.commit(
        PartCommit(part="part-00000000", files=[], records_in=0, records_out=0, counts=counts)
    )
    stage.close()

    done = run_export(ExportConfig(dtype="float32"), model, folder)
    names = {entry.name for entry in done.parts}
    assert {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"} < names
    assert not list(Path(folder.hf).glob(".*"))
    merged, info = AutoModelForCausalLM.from_pretrained(folder.hf, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    before = logits_of(plain)
    expected = logits_of(PeftModel.from_pretrained(plain, Path(folder.hf) / "adapter"))
    torch.testing.assert_close(logits_of(merged), expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(before, expected, atol=1e-2), "the test would be vacuous"
    card = (Path(folder.hf) / "README.md").read_text()
    assert f"- LoRA: rank 4, alpha 8, merged into {base}; alone in `adapter/`\n" in card
    assert f"{sum(each.numel() for each in merged.parameters()):,} parameters" in card
