"""What a run says while it goes on: console, `metrics.jsonl`, TensorBoard, W&B, a profile."""

import os
import resource
import sys
from pathlib import Path
from typing import Any

import torch

from train.checkpoints.marker import CheckpointMarker
from train.metrics import ConsoleLine, MetricsLog
from train.sections import Sections


class Reporter:
    """Reports steps; on ranks other than 0 it says nothing."""

    def __init__(self, sections: Sections, instance: str, rank: int, num_steps_done: int) -> None:
        """Open the logs, dropping lines of steps that will be done again."""
        self._config, self._rank = sections.train, rank
        if rank > 0:
            return
        self._log = MetricsLog(sections.folder.metrics, num_steps_done)
        self._console = ConsoleLine(self._config.num_steps, num_steps_done)

    def greet(self, newest: CheckpointMarker | None, newcomers: list[str]) -> None:
        """Say where the run goes on, and what it leaves out."""
        if newest is not None:
            self.say(f"resumed from step {newest.step}")
        if newcomers:
            self.say(
                f"left out {', '.join(newcomers)}: these rows came after the run had begun; to "
                f"train on them, train in another run.dir"
            )

    def report(self, metrics: dict[str, Any]) -> None:
        """Write a step down, and show it if it is its turn."""
        metrics |= {
            "perf/tokens_per_s": self._tokens(metrics) / metrics["time/step_s"],
            "time/data_wait_share": metrics["time/data_wait_s"] / metrics["time/step_s"],
            "memory_gib": _memory_gib(),
        }
        if self._rank > 0:
            return
        self._log.append(metrics)
        step = metrics["step"]
        is_shown = step in (1, self._config.num_steps) or step % self._config.log_every == 0
        if is_shown or "anomaly" in metrics:
            self.say(self._console.format(metrics))
        if "anomaly" in metrics:
            self.say(f"step {step}: {metrics['anomaly']}")

    def say(self, line: str) -> None:
        """Print a line on rank 0; when nobody reads any more, go on in silence."""
        if self._rank > 0:
            return
        try:
            print(line, flush=True)
        except BrokenPipeError:
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115

    def close(self) -> None:
        """End all logs."""
