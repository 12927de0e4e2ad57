"""TensorBoard events are read back; a stand-in for W&B notes what it is told."""

import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.errors import InputError
from train.config import LoggingConfig
from train.writers import MetricsWriter, open_writers

METRICS = {
    "step": 1,
    "loss": 2.5,
    "data/raw/tokens": 100,
    "data/weights": [0.5, 0.5],
    "anomaly": "skipped: loss not finite",
    "sample": {"prompt": "The", "completion": " end"},
    "is_last": True,
}


def open_for(folder: Path, config: LoggingConfig, num_steps_done: int = 0) -> MetricsWriter:
    return open_writers(
        config,
        str(folder),
        instance="0123456789ab",
        name="my-run",
        num_steps_done=num_steps_done,
        settings={"num_steps": 8},
    )


def read_events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_tensorboard_holds_the_numbers_of_each_step(tmp_path: Path) -> None:
    writer = open_for(tmp_path, LoggingConfig(tensorboard=True))
    writer.write(1, METRICS)
    writer.write(2, {"step": 2, "loss": math.nan})
    writer.close()
    found = read_events(tmp_path)
    assert set(found) == {"loss", "data/raw/tokens"}
    assert found["data/raw/tokens"] == [(1, 100.0)]
    assert found["loss"][0] == (1, 2.5)
    assert found["loss"][1][0] == 2
    assert math.isnan(found["loss"][1][1])


def test_tensorboard_shows_no_step_twice_after_a_resume(tmp_path: Path) -> None:
    config = LoggingConfig(tensorboard=True)
    first = open_for(tmp_path, config)
    for step in range(1, 8):
        first.write(step, {"loss": 10.0 + step})
    first.close()
    # Files are read in the order of their names, which begin with the second they were made in.
    (file,) = (tmp_path / "tensorboard").iterdir()
    file.rename(file.with_name("events.out.tfevents.1700000000.earlier"))
    second = open_for(tmp_path, config, num_steps_done=5)
    second.write(6, {"loss": 26.0})
    second.close()
    expected = [(step, 10.0 + step) for step in range(1, 6)] + [(6, 26.0)]
    assert read_events(tmp_path)["loss"] == expected


class FakeWandb(SimpleNamespace):
    """As much of the package as is used; `WANDB_MODE` is left to the real one."""

    class Error(Exception):
        """Base of the package's errors."""

    def __init__(self, refusal: str = "") -> None:
        super().__init__()
        self.refusal, self.started, self.num_finished = refusal, dict[str, Any](), 0
        self.logged: list[tuple[int, Mapping[str, Any]]] = []

    def init(self, **options: Any) -> Any:
        if self.refusal:
            raise self.Error(self.refusal)
        self.started = options
        return SimpleNamespace(log=self._log, finish=self._finish)

    def _log(self, metrics: Mapping[str, Any], step: int) -> None:
        self.logged.append((step, metrics))

    def _finish(self) -> None:
        self.num_finished += 1


def test_wandb_goes_on_with_the_run_of_the_instance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    writer = open_for(tmp_path, LoggingConfig(wandb_project="ours"))
    writer.write(6, METRICS)
    writer.close()
    assert fake.started == {
        "project": "ours",
        "id": "0123456789ab",
        "name": "my-run",
        "dir": str(tmp_path),
        "resume": "allow",
        "config": {"num_steps": 8},
        "settings": {"console": "off"},
    }
    assert fake.logged == [(6, {"loss": 2.5, "data/raw/tokens": 100})]
    assert fake.num_finished == 1


def test_wandb_that_does_not_start_is_the_users_to_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", FakeWandb("api_key not configured"))
    with pytest.raises(InputError, match=r"api_key not configured.*WANDB_MODE=offline"):
        open_for(tmp_path, LoggingConfig(wandb_project="ours"))


@pytest.mark.parametrize(
    ("package", "config"),
    [
        ("tensorboard", LoggingConfig(tensorboard=True)),
        ("wandb", LoggingConfig(wandb_project="ours")),
    ],
)
def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, config: LoggingConfig
) -> None:
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=f"pip install {package}"):
        open_for(tmp_path, config)


def test_without_any_writer_nothing_is_written(tmp_path: Path) -> None:
    writer = open_for(tmp_path, LoggingConfig())
    writer.write(1, METRICS)
    writer.close()
    assert os.listdir(tmp_path) == []


def test_each_writer_is_closed_though_another_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeWandb()
    monkeypatch.setattr(fake, "_finish", lambda: 1 / 0)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    writer = open_for(tmp_path, LoggingConfig(tensorboard=True, wandb_project="ours"))
    writer.write(1, METRICS)
    with pytest.raises(ZeroDivisionError):
        writer.close()
    assert read_events(tmp_path)["loss"] == [(1, 2.5)]
