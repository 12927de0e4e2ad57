"""Multitask pre-training: `deepspeed train/pretrain.py CONFIG [section.key=value ...]`.

One global batch on two ranks, micro_rows 2:

    rows n .. n+7 ──▶ rank 0: (n, n+1) (n+2, n+3)   forward, backward each    ┐ gradients averaged,
                  └─▶ rank 1: (n+4, n+5) (n+6, n+7)                           ┘ one optimizer step

Each token's loss is divided by the number of trained tokens of the *global* batch, so the result
does not depend on how rows fall on ranks. Exit codes: 0 done, 2 bad input, 75 stopped by SIGTERM
after saving (start it again to go on).
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    # As a script, this folder would come first on the path and hide libraries of the same names.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import argparse
import os
import resource
import signal
import time
from typing import Any

import numpy as np
import torch

from pipeline import storage
from pipeline.errors import InputError
from pipeline.loader.batch import IGNORE_LABEL, Batch
from pipeline.loader.stream import BatchStream
from pipeline.mixture.online import make_online_rule
from pipeline.process import EXIT_STOPPED, WatchedProcess, die_with_parent
from pipeline.stage import FileEntry, Manifest, PartCommit, StageFolder, read_manifest
from train import checkpoint
from train.config import TrainConfig
from train.deepspeed_config import deepspeed_config
from train.identity import open_train_stage
from train.metrics import ConsoleLine, MetricsLog
from train.model import build_model, token_losses
from train.process_group import join_ranks
from train.schedule import learning_rate
from train.sections import Sections, load_sections, rows_of

EXIT_BAD_INPUT = 2
_LOCK_WAIT_S = 120.0


def open_stage_of(sections: Sections, rows: Manifest) -> StageFolder:
    """Open the training folder; on the other ranks after rank 0 has.

    Raises:
        StaleStageError: it holds a run of another config or of other rows.
    """
    return open_train_stage(sections.train, sections.mixture, sections.run, rows)


class Trainer:
    """One rank's share of the run."""

    def __init__(self, sections: Sections, rows: Manifest, stage: StageFolder) -> None:
        """Build model, optimizer and loader; resume from the newest complete checkpoint."""
        import deepspeed

        self.config, self.stage, self.folder = sections.train, stage, sections.folder
        self.num_ranks = torch.distributed.get_world_size()
        self.rank = torch.distributed.get_rank()
        self.accumulation = self.config.accumulation_steps(self.num_ranks)
        self.batches = BatchStream(
            rows_of(sections),
            self.config.rows_per_batch,
            rank=self.rank,
            num_ranks=self.num_ranks,
            micro_rows=self.config.micro_rows,
            end_row=self.config.num_steps * self.config.rows_per_batch,
        )
        newest = self._newest_checkpoint()
        if newest is not None:
            self.batches.load_state_dict(newest.data)
        if self.rank == 0 and (left_out := self.batches.newcomers):
            _say(
                f"left out {', '.join(left_out)}: these rows came after the run had begun; to "
                f"train on them, train in another run.dir"
            )
        mixture, online = self.batches.mixture, sections.mixture.online
        self.sources = mixture.names
        self.online = make_online_rule(online, mixture.pieces[0].last) if online else None
        self.seq_len = int(rows.config["seq_len"])
        model = build_model(self.config.model, str(rows.config["tokenizer"]), sections.run.seed)
        if self.config.activation_checkpointing:
            model.gradient_checkpointing_enable()
        model.train()
        self.engine, self.optimizer, _, _ = deepspeed.initialize(
            model=model,
            optimizer=_make_optimizer(model, self.config),
            config=deepspeed_config(self.config, self.num_ranks),
        )
        self.device = self.engine.device
        self.step = self._resume(newest)

    def train(self) -> int:
        """Train to the last step; returns the exit code."""
        try:
            return self._train()
        finally:
            self.batches.close()

    def _train(self) -> int:
        stop = _StopRequest()
        log = MetricsLog(self.folder.metrics, self.step) if self.rank == 0 else None
        console = ConsoleLine(self.config.num_steps, self.step)
        while self.step < self.config.num_steps:
            metrics = self.train_step()
            if log is not None:
                log.append(metrics)
                if self.step % self.config.log_every == 0 or self.step in (
                    1,
                    self.config.num_steps,
                ):
                    _say(console.format(metrics))
            is_stopped = stop.agreed(self.device)
            is_last = self.step == self.config.num_steps
            if is_last or is_stopped or self.step % self.config.checkpoint_every == 0:
                self.save()
            if is_stopped and not is_last:
                if self.rank == 0:
                    _say(f"stopped after step {self.step}, saved; run again to go on")
                return EXIT_STOPPED
        return 0

    def train_step(self) -> dict[str, Any]:
        """One optimizer step; returns its metrics (complete on every rank)."""
        started = time.monotonic()
        config = self.config
        mine, size = next(self.batches), config.micro_rows
        batches = [mine.slice(start, start + size) for start in range(0, mine.num_rows, size)]
        data_wait_s = time.monotonic() - started
        num_tokens = self._sum_over_ranks(_tokens_by_source(batches, len(self.sources)))
        lr = learning_rate(config.optimizer, self.step, config.num_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        loss_sums = torch.zeros(len(self.sources), dtype=torch.float64)
        for batch in batches:
            loss_sums += self._forward_backward(batch, float(num_tokens.sum()))
            self.engine.step()
        loss_sums = self._sum_over_ranks(loss_sums)
        self.step += 1
        if self.online is not None:
            self._remix(loss_sums, num_tokens)
        return self._metrics(loss_sums, num_tokens, lr, time.monotonic() - started, data_wait_s)

    def save(self) -> None:
        """Write a complete checkpoint."""
        marker = checkpoint.CheckpointMarker(
            step=self.step,
            rows=self.step * self.config.rows_per_batch,
            num_ranks=self.num_ranks,
            instance=self.stage.identity.instance,
            data=self.batches.state_dict(),
            online=self.online.state() if self.online is not None else {},
        )
        keep = self.config.keep_checkpoints
        checkpoint.save(self.engine, self.folder.checkpoints, marker, keep)
        if self.rank == 0:
            self.stage.adopt()  # there is a state now that knows the rows that have grown

    def _newest_checkpoint(self) -> checkpoint.CheckpointMarker | None:
        """The checkpoint to go on from; removes what saves that were cut off left behind.

        Raises:
            InputError: it was written by another number of ranks.
        """
        instance = self.stage.identity.instance
        complete = checkpoint.list_complete(self.folder.checkpoints, instance)
        if self.rank == 0:
            checkpoint.remove_unmarked(self.folder.checkpoints)
        torch.distributed.barrier()
        if not complete:
            return None
        newest = complete[-1]
        if newest.num_ranks != self.num_ranks:
            raise InputError(
                f"the checkpoint at step {newest.step} was written by {newest.num_ranks} ranks and "
                f"this run has {self.num_ranks}; start it with train.num_ranks={newest.num_ranks}"
            )
        return newest

    def _resume(self, newest: checkpoint.CheckpointMarker | None) -> int:
        """Load a checkpoint; returns its step, 0 if there is none."""
        if newest is None:
            return 0
        checkpoint.load(self.engine, self.folder.checkpoints, newest)
        if self.online is not None:
            self.online.load_state(newest.online)
        if self.rank == 0:
            _say(f"resumed from step {newest.step}")
        return newest.step

    def _forward_backward(self, batch: Batch, global_tokens: float) -> torch.Tensor:
        """Accumulate gradients; returns the loss summed by source, (num_sources,) fp64."""
        ids, labels, positions, segments = (
            torch.from_numpy(array).to(self.device)
            for array in (batch.input_ids, batch.labels, batch.positions, batch.segment_ids)
        )
        losses = token_losses(
            self.engine,
            ids,
            labels,
            positions,
            segments if self.config.document_mask else None,
        )
        # DeepSpeed averages over ranks and micro-batches; undo both, divide by the global count.
        scale = self.num_ranks * self.accumulation / max(1.0, global_tokens)
        self.engine.backward(losses.sum() * scale)
        sums = torch.zeros(len(self.sources), dtype=torch.float64)
        row_sums = losses.detach().sum(dim=1).double().cpu()
        return sums.index_add(0, torch.from_numpy(batch.source_ids), row_sums)

    def _remix(self, loss_sums: torch.Tensor, num_tokens: torch.Tensor) -> None:
        """Show the online rule the losses of rank 0 and follow it, on every rank alike."""
        assert self.online is not None
        losses = (loss_sums / num_tokens).to(self.device)
        torch.distributed.broadcast(losses, src=0)
        weights = self.online.observe(self.step, losses.cpu().numpy())
        if weights is not None:
            self.batches.change_weights(weights.tolist())

    def _sum_over_ranks(self, values: torch.Tensor) -> torch.Tensor:
        total = values.to(self.device)
        torch.distributed.all_reduce(total)
        return total.cpu()

    def _metrics(
        self,
        loss_sums: torch.Tensor,
        num_tokens: torch.Tensor,
        lr: float,
        step_s: float,
        data_wait_s: float,
    ) -> dict[str, Any]:
        total = float(num_tokens.sum())
        rows_done = self.step * self.config.rows_per_batch
        metrics: dict[str, Any] = {
            "step": self.step,
            "loss": float(loss_sums.sum()) / max(1.0, total),
            "lr": lr,
            "grad_norm": float(self.engine.get_global_grad_norm() or 0.0),
            "perf/tokens_per_s": self.config.rows_per_batch * self.seq_len / step_s,
            "time/step_s": step_s,
            "time/data_wait_s": data_wait_s,
            "time/data_wait_share": data_wait_s / step_s,
            "memory_gib": _memory_gib(),
            "data/rows": rows_done,
        }
        if self.batches.events and self.batches.events[-1].row == rows_done:
            metrics["data/weights"] = list(self.batches.events[-1].weights)
        for number, source in enumerate(self.sources):
            count = float(num_tokens[number])
            metrics[f"data/{source}/tokens"] = int(count)
            if count:
                metrics[f"loss/{source}"] = float(loss_sums[number]) / count
        return metrics


class _StopRequest:
    """SIGTERM to any rank, or the end of `ipt`, stops all ranks after the same step."""

    def __init__(self) -> None:
        self._is_requested = False
        self._parent = WatchedProcess()
        signal.signal(signal.SIGTERM, self._note)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the launcher turns Ctrl-C into SIGTERM

    def _note(self, *_: object) -> None:
        self._is_requested = True

    def agreed(self, device: torch.device) -> bool:
        flag = torch.tensor(float(self._is_requested or self._parent.has_ended()), device=device)
        torch.distributed.all_reduce(flag)
        return bool(flag.item())


def _say(line: str) -> None:
    """Print a line; when nobody reads any more, go on in silence, to save what there is."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _make_optimizer(model: Any, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW; matrices decay, norms and biases (vectors) do not."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    decayed = [weight for weight in weights if weight.ndim >= 2]
    others = [weight for weight in weights if weight.ndim < 2]
    settings = config.optimizer
    return torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=settings.peak_lr,
        betas=(settings.beta1, settings.beta2),
    )


def _tokens_by_source(batches: list[Batch], num_sources: int) -> torch.Tensor:
    """Trained tokens of each source, (num_sources,) fp64."""
    counts = np.zeros(num_sources)
    for batch in batches:
        np.add.at(counts, batch.source_ids, (batch.labels != IGNORE_LABEL).sum(axis=1))
    return torch.from_numpy(counts)


def _memory_gib() -> float:
    """Peak memory of the accelerator, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def run(sections: Sections) -> int:
    """Train on this rank, from rows to the last checkpoint and the stage's manifest.

    Returns:
        The process's exit code.

    Raises:
        InputError: the rows, the config or leftovers of another run cannot be used.
    """
    die_with_parent()
    rows = read_manifest(sections.folder.rows)
    if join_ranks() > 0:
        torch.distributed.barrier()  # rank 0 opens the folder first
        return _run_rank(sections, rows, open_stage_of(sections, rows))
    with storage.exclusive(sections.folder.train, wait_s=_LOCK_WAIT_S):
        stage = open_stage_of(sections, rows)
        torch.distributed.barrier()
        code = _run_rank(sections, rows, stage)
        if code == 0:
            stage.adopt()
            _close(stage, sections)
        return code


def _run_rank(sections: Sections, rows: Manifest, stage: StageFolder) -> int:
    code = Trainer(sections, rows, stage).train()
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    return code


def _close(stage: StageFolder, sections: Sections) -> None:
    num_rows = sections.train.num_steps * sections.train.rows_per_batch
    metrics = storage.read_bytes(sections.folder.metrics)
    entry = FileEntry.of("metrics.jsonl", sections.train.num_steps, metrics)
    stage.commit(
        PartCommit(
            part="part-00000000",
            files=[entry],
            records_in=num_rows,
            records_out=num_rows,
            counts={"steps": sections.train.num_steps, "rows": num_rows},
        )
    )
    stage.close()


def main(arguments: list[str]) -> int:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("config", help="TOML of the run")
    parser.add_argument("overrides", nargs="*", help="section.key=value")
    parser.add_argument("--local_rank", type=int, default=0, help="set by the launcher")
    parsed = parser.parse_args(arguments)
    for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")):
        os.environ.setdefault(name, default)
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29500")
    try:
        return run(load_sections(parsed.config, parsed.overrides))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return EXIT_BAD_INPUT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
