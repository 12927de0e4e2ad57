"""Records are found again by all that decided them, models known by their content."""

import json
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.kept import KeptRecords, find_model, model_key


def test_a_record_is_found_by_its_whole_identity(tmp_path: Path) -> None:
    kept = KeptRecords(str(tmp_path / "kept"))
    identity = {"model": "a", "limit": 5}
    assert kept.find(identity) is None
    kept.keep(identity, {"value": 0.5})
    assert kept.find({"limit": 5, "model": "a"}) == {"model": "a", "limit": 5, "value": 0.5}
    assert kept.find({"model": "a", "limit": 6}) is None
    (file,) = (tmp_path / "kept").iterdir()
    assert json.loads(file.read_text())["limit"] == 5


def test_a_model_is_known_by_its_weights(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"a" * 5 * 2**20)
    before = model_key(str(tmp_path))
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "README.md").write_text("made today")
    assert model_key(str(tmp_path)) == before
    weights.write_bytes(b"a" * 4 * 2**20 + b"b" * 2**20)
    changed = model_key(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    assert len({before, changed, model_key(str(tmp_path))}) == 3
    assert model_key("org/name") == "org/name"


def test_a_model_is_a_folder_with_a_config_or_a_hub_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hf").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"has no config\.json; give an exported model"):
        find_model("hf")
    (tmp_path / "hf/config.json").write_text("{}")
    assert find_model("hf") == str(tmp_path / "hf")
    assert find_model("org/name") == "org/name"
    with pytest.raises(InputError, match="no such folder"):
        find_model("./nowhere")


def test_a_merged_model_is_known_by_its_adapter_too(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"a" * 2**20)
    (tmp_path / "adapter").mkdir()
    keys = set()
    for weights in (b"one", b"two"):
        (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(weights)
        keys.add(model_key(str(tmp_path)))
    assert len(keys) == 2
