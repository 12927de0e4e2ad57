"""What of peft's adapters can be merged, and what is said of the others."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.adapters import Adapter, base_reference, is_adapter, read_adapter
from pipeline.errors import InputError

CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 8, "base_model_name_or_path": "org/name"}
NAME = "base_model.model.layer.{}.weight"
TENSORS = {
    NAME.format("lora_A"): torch.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]]),
    NAME.format("lora_B"): torch.tensor([[1.0, 0.0], [0.0, 2.0]]),
}


def write(folder: Path, config: object, tensors: dict[str, torch.Tensor]) -> Path:
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def test_only_a_folder_without_a_model_is_an_adapter(tmp_path: Path) -> None:
    assert not is_adapter(tmp_path)
    assert is_adapter(write(tmp_path, CONFIG, TENSORS))
    (tmp_path / "config.json").write_text("{}")
    assert not is_adapter(tmp_path)


@pytest.mark.parametrize(("fields", "scale"), [({}, 4.0), ({"use_rslora": True}, 8 / 2**0.5)])
def test_the_update_is_scaled(tmp_path: Path, fields: dict, scale: float) -> None:
    adapter = read_adapter(write(tmp_path, CONFIG | fields, TENSORS))
    weight = torch.ones(2, 3)
    expected = weight + scale * torch.tensor([[1.0, 2.0, 3.0], [0.0, 2.0, 0.0]])
    torch.testing.assert_close(adapter.merged("layer.weight", weight), expected)
    turned = Adapter(adapter.config | {"fan_in_fan_out": True}, adapter.factors)
    torch.testing.assert_close(turned.merged("layer.weight", weight.T), expected.T)
    with pytest.raises(InputError, match=r"\(2, 4\) in the base and \(2, 3\) in the adapter"):
        adapter.merged("layer.weight", torch.ones(2, 4))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3'"),
        ({"use_dora": True}, "use_dora = True is more than plain LoRA"),
        ({"modules_to_save": ["lm_head"]}, r"modules_to_save = \['lm_head'\]"),
        ({"alpha_pattern": {"q_proj": 3}}, "alpha_pattern"),
        ({"bias": "all"}, "bias = 'all'"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights = 'pissa' changes the base"),
        ({"lora_alpha": None}, "lora_alpha is None"),
    ],
)
def test_more_than_lora_is_refused(tmp_path: Path, fields: dict, words: str) -> None:
    with pytest.raises(InputError, match=f"adapter {tmp_path}: {words}"):
        read_adapter(write(tmp_path, CONFIG | fields, TENSORS))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({NAME.format("lora_embedding_A"): torch.ones(2)}, "lora_embedding_A.weight is none of"),
        ({"layer.lora_A.weight": torch.ones(2)}, "tensor layer.lora_A.weight is none of"),
        ({NAME.format("lora_B"): None}, "lora_B.weight is missing"),
        (dict.fromkeys(TENSORS), "there are no tensors"),
    ],
)
def test_other_tensors_are_named(tmp_path: Path, change: dict, words: str) -> None:
    tensors = {name: each for name, each in (TENSORS | change).items() if each is not None}
    with pytest.raises(InputError, match=words):
        read_adapter(write(tmp_path, CONFIG, tensors))


def test_damaged_files_are_named(tmp_path: Path) -> None:
    write(tmp_path, CONFIG, TENSORS)
    weights = tmp_path / "adapter_model.safetensors"
    assert load_file(weights).keys() == TENSORS.keys()
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"adapter_model\.safetensors is damaged"):
        read_adapter(tmp_path)
    weights.unlink()
    with pytest.raises(InputError, match=r"adapter_model\.safetensors is missing"):
        read_adapter(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        base_reference(tmp_path)
    (tmp_path / "adapter_config.json").write_text("[]")
    with pytest.raises(InputError, match="holds no object"):
        base_reference(tmp_path)


def test_the_base_must_be_named(tmp_path: Path) -> None:
    assert base_reference(write(tmp_path, CONFIG, TENSORS)) == "org/name"
    write(tmp_path, CONFIG | {"base_model_name_or_path": None}, TENSORS)
    with pytest.raises(InputError, match="base_model_name_or_path is None; set it"):
        base_reference(tmp_path)
