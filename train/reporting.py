"""What a run says while it goes on: console, `metrics.jsonl`, TensorBoard, W&B, a profile."""

import os
import resource
import sys
from pathlib import Path
from typing import Any

import torch

from train.accelerators import peak_flops
from train.checkpoints.marker import CheckpointMarker
from train.config import TrainConfig
from train.flops import ModelFlops, model_flops, row_pairs, saved_share, utilisation
from train.metrics import ConsoleLine, MetricsLog
from train.sections import Sections
from train.writers import open_writers


class Speed:
    """How fast steps are, in tokens and as a share of what the accelerators could do."""

    def __init__(self, config: TrainConfig, causal_lm: Any, seq_len: int, num_ranks: int) -> None:
        """Count what a token costs.

        Args:
            config: of the run.
            causal_lm: the model, before or after its weights are sharded.
            seq_len: tokens of a row.
            num_ranks: accelerators that share the work.
        """
        weights = dict(causal_lm.named_parameters())
        sizes = {
            name: int(getattr(weight, "ds_numel", weight.numel()))
            for name, weight in weights.items()
        }
        num_trained = sum(sizes[name] for name in sizes if weights[name].requires_grad)
        self._flops: ModelFlops | None = model_flops(
            causal_lm.config, sizes.items(), seq_len, num_trained if config.lora else None
        )
        has_cuda = torch.cuda.is_available()
        self._peak = (
            peak_flops(torch.cuda.get_device_name(), config.precision) if has_cuda else None
        )
        self._num_ranks, self._seq_len = num_ranks, seq_len
        self._tokens = config.rows_per_batch * seq_len
        self._pairs = row_pairs(config.rows_per_batch, seq_len)

    def metrics(self, step_s: float, document_pairs: float, num_rows: int) -> dict[str, float]:
        """Of a step that took `step_s`.

        Args:
            step_s: seconds.
            document_pairs: pairs of tokens that see each other, on all ranks.
            num_rows: rows these are in; more than a batch has, if some were filled up.
        """
        found = {
            "perf/tokens_per_s": self._tokens / step_s,
            "perf/attention_saved": saved_share(document_pairs, row_pairs(num_rows, self._seq_len)),
        }
        if self._flops and self._peak:
            flops = self._flops.of(self._tokens, self._pairs)
            found["perf/mfu"] = utilisation(flops, step_s, self._num_ranks, self._peak)
        return found


class Reporter:
    """Reports steps; on ranks other than 0 it says nothing."""

    def __init__(self, sections: Sections, instance: str, rank: int, num_steps_done: int) -> None:
        """Open the logs, dropping lines of steps that will be done again.

        Raises:
            InputError: TensorBoard or W&B is asked for and cannot be had.
        """
        self._config, self._rank = sections.train, rank
        if rank > 0:
            return
        folder = sections.folder
        self._log = MetricsLog(folder.metrics, num_steps_done)
        self._console = ConsoleLine(self._config.num_steps, num_steps_done)
        self._writers = open_writers(
            self._config.logging,
            folder.train,
            instance=instance,
            name=Path(folder.root).name,
            num_steps_done=num_steps_done,
            settings=self._config.model_dump(mode="json"),
        )
        self._profile = _Profile(self._config.logging.profile_steps, Path(folder.train) / "profile")

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
        if self._rank > 0:
            return
        metrics = metrics | {"memory_gib": _memory_gib()}
        self._log.append(metrics)
        step = metrics["step"]
        self._writers.write(step, metrics)
        self._profile.after(step)
        is_turn = step in (1, self._config.num_steps) or step % self._config.log_every == 0
        if is_turn or "anomaly" in metrics:
            self.say(self._console.format(metrics))
        for line in self._console.format_heldout(metrics):
            self.say(line)

    def sync(self) -> bool:
        """Whether all steps are written down, to stay; a checkpoint must not outrun them."""
        return self._rank > 0 or self._log.sync()

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
        if self._rank == 0:
            self._profile.stop()
            self._writers.close()


class _Profile:
    """A profiler trace of some steps."""

    def __init__(self, steps: tuple[int, int] | None, folder: Path) -> None:
        self._steps, self._folder = steps, folder
        self._profiler: Any = None
        self.after(0)

    def after(self, step: int) -> None:
        """Start before the first step wanted, stop after the last."""
        if self._steps is None:
            return
        first, last = self._steps
        if first <= step + 1 <= last and self._profiler is None:
            activities = [torch.profiler.ProfilerActivity.CPU]
            if torch.cuda.is_available():
                activities.append(torch.profiler.ProfilerActivity.CUDA)
            self._profiler = torch.profiler.profile(activities=activities)
            self._profiler.start()
        elif step >= last:
            self.stop()

    def stop(self) -> None:
        """Write what was recorded, for chrome://tracing or Perfetto."""
        if self._profiler is None:
            return
        profiler, self._profiler, self._steps = self._profiler, None, None
        profiler.stop()
        self._folder.mkdir(parents=True, exist_ok=True)
        profiler.export_chrome_trace(str(self._folder / "trace.json.gz"))


def _memory_gib() -> float:
    """Peak memory of the accelerator, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
