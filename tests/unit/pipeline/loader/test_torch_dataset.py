"""The stream under PyTorch's own loader, and the training loop that its module shows."""

import json
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from pipeline.loader import torch_dataset
from pipeline.loader.stream import open_stream
from pipeline.loader.torch_dataset import TorchBatches
from tests.packed import random_rows, write_packed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("rows")
    write_packed(folder, {"a-raw": [random_rows(90, 16, 1)], "b-raw": [random_rows(40, 16, 2)]}, 8)
    return str(folder)


def test_a_data_loader_serves_the_stream_and_its_state(folder: str) -> None:
    expected = [batch.input_ids for batch in open_stream(folder, 12, 240)]
    assert len(expected) == 20
    for cut in (0, 7, 19):
        first, second = (TorchBatches(open_stream(folder, 12, 240)) for _ in range(2))
        loader = iter(DataLoader(first, batch_size=None))
        found = [next(loader) for _ in range(cut)]
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        found += list(DataLoader(second, batch_size=None))
        for batch, ids in zip(found, expected, strict=True):
            np.testing.assert_array_equal(batch["input_ids"].numpy(), ids)
            assert batch["labels"].dtype == torch.int32


def test_workers_are_refused(folder: str) -> None:
    loader = DataLoader(TorchBatches(open_stream(folder, 12, 240)), batch_size=None, num_workers=1)
    with pytest.raises(RuntimeError, match="use num_workers=0"):
        next(iter(loader))


def test_the_training_loop_of_the_module_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = textwrap.dedent((torch_dataset.__doc__ or "").partition("as it stands here:")[2])
    assert "open_stream" in code
    write_packed(tmp_path / "runs/mine/rows", {"a-raw": [random_rows(16, 32, 1)]}, 8)
    monkeypatch.chdir(tmp_path)
    names: dict = {"losses": []}
    exec(code.replace("loss.backward()", "losses.append(loss.item()); loss.backward()"), names)
    assert len(names["losses"]) == 30
    assert names["losses"][-1] < names["losses"][0] - 1
    assert json.loads((tmp_path / "data_state.json").read_text())["rows"] == 240
