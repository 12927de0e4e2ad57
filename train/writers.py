"""Metrics beside `metrics.jsonl`: TensorBoard, Weights & Biases, Prometheus, for rank 0.

A run that is killed at step 7 and goes on from its checkpoint of step 5 does steps 6 and 7 again:

    TensorBoard   hides what it has of steps from 6 on, and takes them anew
    W&B           goes on with the same run; it keeps the first values of steps 6 and 7, as its
                  history only grows
    Prometheus    shows the last step, whichever that is
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import InputError
from train.config import LoggingConfig
from train.prometheus import PrometheusWriter

_FLUSH_S = 10


class MetricsWriter(Protocol):
    """Takes the metrics of steps, of which it writes the numbers."""

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Add the numbers of one step; texts, lists and the step itself are passed over."""

    def close(self) -> None:
        """Write out what is held back."""


def open_writers(
    config: LoggingConfig,
    folder: str,
    *,
    instance: str,
    name: str,
    num_steps_done: int,
    settings: Mapping[str, Any],
) -> MetricsWriter:
    """The writers that a config asks for, as one; it does nothing where none is asked for.

    Args:
        config: which.
        folder: local folder of training; each writer has a folder of its own in it.
        instance: of the training stage (`StageIdentity.instance`): the id of the run at W&B.
        name: of the run, for people.
        num_steps_done: steps that the checkpoint stands at; what was written of later ones, before
            a restart or a rollback, no longer holds.
        settings: of training (`TrainConfig`), shown beside the run at W&B.

    Raises:
        InputError: a package is not installed, W&B refuses to start, or a port is taken.
    """
    writers: list[MetricsWriter] = []
    if config.tensorboard:
        writers.append(_TensorBoard(Path(folder) / "tensorboard", num_steps_done))
    if config.wandb_project:
        writers.append(_WeightsAndBiases(config.wandb_project, folder, instance, name, settings))
    if config.prometheus_port:
        host, port = config.prometheus_host, config.prometheus_port
        writers.append(PrometheusWriter(host, port, settings["num_steps"]))
    return _Several(writers)


class _Several:
    def __init__(self, writers: Sequence[MetricsWriter]) -> None:
        self._writers = writers

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        for writer in self._writers:
            writer.write(step, metrics)

    def close(self) -> None:
        with ExitStack() as stack:  # each is closed, also where another fails
            for writer in self._writers:
                stack.callback(writer.close)


class _TensorBoard:
    def __init__(self, folder: Path, num_steps_done: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise InputError(
                "train.logging.tensorboard = true needs the package tensorboard, which is not "
                "installed; pip install tensorboard, or set train.logging.tensorboard=false"
            ) from error
        make: Any = SummaryWriter  # has no types
        self._writer = make(str(folder), purge_step=num_steps_done + 1, flush_secs=_FLUSH_S)

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        for key, value in _numbers(metrics).items():
            self._writer.add_scalar(key, value, step)

    def close(self) -> None:
        self._writer.close()


class _WeightsAndBiases:
    def __init__(
        self, project: str, folder: str, instance: str, name: str, settings: Mapping[str, Any]
    ) -> None:
        try:
            import wandb
        except ImportError as error:
            raise InputError(
                f"train.logging.wandb_project = {project!r} needs the package wandb, which is not "
                f"installed; pip install wandb, or set train.logging.wandb_project=''"
            ) from error
        try:
            self._run = wandb.init(
                project=project,
                id=instance,
                name=name,
                dir=folder,
                resume="allow",
                config=dict(settings),
                settings={"console": "off"},  # what is printed stays here
            )
        except wandb.Error as error:
            raise InputError(
                f"train.logging.wandb_project = {project!r}, but W&B does not start ({error}); set "
                f"WANDB_API_KEY, or WANDB_MODE=offline and upload later with `wandb sync`"
            ) from error

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        self._run.log(_numbers(metrics), step=step)

    def close(self) -> None:
        self._run.finish()


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {
        key: value
        for key, value in metrics.items()
        if key != "step" and isinstance(value, int | float) and not isinstance(value, bool)
    }
