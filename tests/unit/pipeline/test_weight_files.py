"""Weights written to several files and read back one by one."""

import json
import stat
from pathlib import Path

import pytest
import torch

from pipeline.weight_files import WeightFiles, write_weights

WEIGHTS = {name: torch.full((4, 4), float(number)) for number, name in enumerate("dacb")}


@pytest.mark.parametrize(("max_bytes", "num_files"), [(10**6, 1), (128, 2), (1, 4)])
def test_what_is_written_is_read(tmp_path: Path, max_bytes: int, num_files: int) -> None:
    write_weights(tmp_path, iter(WEIGHTS.items()), max_bytes)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) == num_files
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o644}
    found = dict(WeightFiles(tmp_path))
    assert found.keys() == WEIGHTS.keys() == set(WeightFiles(tmp_path).names)
    assert all(torch.equal(found[name], WEIGHTS[name]) for name in WEIGHTS)
    index = tmp_path / "model.safetensors.index.json"
    assert index.exists() == (num_files > 1)
    if num_files > 1:
        values = json.loads(index.read_text())
        assert values["metadata"] == {"total_size": 4 * 64}
        assert values["weight_map"]["d"] == f"model-00001-of-{num_files:05d}.safetensors"


def test_a_folder_without_files_has_no_weights(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").touch()
    assert WeightFiles(tmp_path).names == []
