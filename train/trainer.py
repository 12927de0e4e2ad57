"""One rank of the training loop.

One global batch on two ranks, micro_rows 2:

    rows n .. n+7 ──▶ rank 0: (n, n+1) (n+2, n+3)   forward, backward each    ┐ gradients averaged,
                  └─▶ rank 1: (n+4, n+5) (n+6, n+7)                           ┘ one optimizer step

Each token's loss is divided by the number of trained tokens of the *global* batch, so the result
does not depend on how rows fall on ranks.
"""

import math
import time
from importlib import metadata
from typing import Any

import numpy as np
import torch

from pipeline.loader.batch import IGNORE_LABEL, Batch
from pipeline.loader.stream import BatchStream
from pipeline.mixture.online import make_online_rule
from pipeline.process import EXIT_FAILED, EXIT_STOPPED
from pipeline.stage import Manifest, StageFolder
from train.anomaly import NOT_FINITE, LossWatch
from train.checkpoints.engine_state import EngineState
from train.checkpoints.marker import CheckpointMarker
from train.checkpoints.session import RunCheckpoints
from train.deepspeed_config import deepspeed_config
from train.evaluation import HeldoutEvaluation
from train.flops import document_pairs
from train.lora import add_lora
from train.model import (
    ModelInputs,
    PackedCausalLM,
    build_model,
    compile_layers,
    require_all_trained,
    require_separate_documents,
)
from train.optimizer import Veto, make_optimizer
from train.process_group import Host
from train.reporting import Reporter, Speed
from train.schedule import learning_rate
from train.sections import Sections, rows_of
from train.stopping import SaveRequest
from train.uncertainty import UncertaintyWeights
from train.watchdog import Watchdog


class Trainer:
    """One rank's share of the run."""

    def __init__(self, sections: Sections, rows: Manifest, stage: StageFolder) -> None:
        """Build model, optimizer and loader; resume from the newest whole checkpoint."""
        self.config, self.stage = sections.train, stage
        self.host = Host()
        self.watchdog = Watchdog(self.config.watchdog_s)
        self.checkpoints = RunCheckpoints(
            sections.folder.checkpoints,
            stage.identity.instance,
            self.host,
            self.config.keep_checkpoints,
            self.config.keep_every,
        )
        newest = self.checkpoints.newest()
        self.batches = self._open_batches(sections, newest)
        mixture, online = self.batches.mixture, sections.mixture.online
        self.sources = mixture.names
        self.online = make_online_rule(online, mixture.pieces[0].last) if online else None
        self.watch = LossWatch(self.config.anomaly)
        self.uncertainty = UncertaintyWeights(len(self.sources), self.config.loss.uncertainty_lr)
        self.causal_lm, self.engine = self._build(sections, rows)
        self.veto = Veto(self.engine.basic_optimizer)
        names = {
            weight: name
            for name, weight in self.causal_lm.named_parameters()
            if weight.requires_grad
        }
        self.state = EngineState(self.engine, names)
        self.device = self.engine.device
        self.step = self._resume(newest)
        self.saved_step = 0
        """Step of the last checkpoint that this process began."""
        seq_len = int(rows.config["seq_len"])
        self.speed = Speed(self.config, self.causal_lm, seq_len, self.host.num_ranks)
        self.reporter = Reporter(sections, stage.identity.instance, self.host.rank, self.step)
        self.reporter.greet(newest, self.batches.newcomers)
        self.evaluation = HeldoutEvaluation(sections, rows, self.host, self.device)

    def train(self, stop: SaveRequest) -> int:
        """Train to the last step, or until asked to stop; returns the exit code."""
        self.watchdog.start()
        try:
            return self._train(stop)
        finally:
            self.watchdog.stop()
            self.batches.close()
            self.reporter.close()

    def _train(self, stop: SaveRequest) -> int:
        checkpoint_s = 0.0
        if self.step < self.config.num_steps and self.host.any(bool(stop)):
            self.reporter.say(f"stopped before step {self.step + 1}; run again to go on")
            return EXIT_STOPPED
        while self.step < self.config.num_steps:
            metrics = self.train_step() | {"time/checkpoint_s": checkpoint_s}
            is_last = self.step == self.config.num_steps
            if self.evaluation.is_due(self.step, is_last):
                self.watchdog.at(self.step, "evaluation")
                metrics |= self.evaluation.run(self.engine, self.causal_lm)
            if self.checkpoints.clean_up_failure():
                metrics.setdefault("anomaly", "a checkpoint could not be written")
            self.reporter.report(metrics)  # before a checkpoint can say that this step is done
            if self._is_hopeless():
                self.reporter.say(f"error: step {self.step}: {metrics['anomaly']}; training ends")
                self.checkpoints.finish()  # one under way may be the last good one
                return EXIT_FAILED
            is_stopped = self.host.any(bool(stop))
            checkpoint_s = 0.0
            if is_last or is_stopped or self.step % self.config.checkpoint_every == 0:
                self.watchdog.at(self.step, "checkpoint")
                checkpoint_s = self.save(is_async=not is_last and not is_stopped)
            if is_stopped and not is_last:
                break
        return self._end()

    def _end(self) -> int:
        """The last checkpoint is what a run leaves: without it, it has failed."""
        self.watchdog.at(self.step, "end")
        if not self.checkpoints.finish():
            return EXIT_FAILED
        self._adopt()
        if self.step == self.config.num_steps:
            return 0
        self.reporter.say(f"stopped after step {self.step}, saved; run again to go on")
        return EXIT_STOPPED

    def train_step(self) -> dict[str, Any]:
        """One optimizer step; returns its metrics (complete on every rank)."""
        started = time.monotonic()
        self.watchdog.at(self.step + 1, "data")
        mine, size = next(self.batches), self.config.micro_rows
        batches = [mine.slice(start, start + size) for start in range(0, mine.num_rows, size)]
        data_wait_s = time.monotonic() - started
        counts = _tokens_by_source(mine, len(self.sources))
        numbers = self.host.sum([*counts, document_pairs(mine.positions)])
        num_tokens, num_pairs = numbers[:-1], float(numbers[-1])
        lr = learning_rate(self.config.optimizer, self.step, self.config.num_steps)
        for group in self.engine.basic_optimizer.param_groups:
            group["lr"] = lr
        self.watchdog.at(self.step + 1, "forward and backward")
        losses = self._forward_backward(batches, num_tokens)
        self.watchdog.at(self.step + 1, "losses")
        loss_sums = self._sum_over_ranks(losses)
        self.watchdog.at(self.step + 1, "optimizer")
        anomaly, grad_norm = self._take_step(float(loss_sums.sum() / max(1.0, num_tokens.sum())))
        self.step += 1
        if not anomaly:
            self._learn_from(loss_sums, num_tokens)
        elif self.config.anomaly.policy == "rollback":
            anomaly = self._roll_back(anomaly)
        step_s = time.monotonic() - started
        num_rows = mine.num_rows * self.host.num_ranks
        speed = self.speed.metrics(step_s, num_pairs, num_rows)
        metrics = self._metrics(loss_sums, num_tokens) | speed
        metrics |= {
            "lr": lr,
            "grad_norm": grad_norm,
            "time/step_s": step_s,
            "time/data_wait_s": data_wait_s,
            "time/data_wait_share": data_wait_s / step_s,
        }
        return metrics | ({"anomaly": anomaly} if anomaly else {})

    def save(self, is_async: bool) -> float:
        """Begin a checkpoint, or write it; returns the seconds that training waited."""
        if self.saved_step and self.checkpoints.finish():
            self._adopt()
        if self.host.any(not self.reporter.sync()):
            self.reporter.say("error: metrics.jsonl cannot be written; no checkpoint until it can")
            self.checkpoints.give_up()
            return 0.0
        marker = CheckpointMarker(
            step=self.step,
            rows=self.step * self.config.rows_per_batch,
            num_ranks=self.host.num_ranks,
            instance=self.stage.identity.instance,
            code_version=metadata.version("instruct-pretrain"),
            config=self.config.model_dump(mode="json"),
            optimizer_steps=self.state.num_steps,
            data=self.batches.state_dict(),
            online=self.online.state() if self.online is not None else {},
            uncertainty=self.uncertainty.log_variances.tolist(),
            anomalies=self.watch.state(),
        )
        self.saved_step = self.step
        return self.checkpoints.save(
            marker, self.state, self.causal_lm, is_async and self.config.async_checkpoints
        )

    def _adopt(self) -> None:
        """There is a state now that knows the rows that have grown."""
        if self.host.rank == 0:
            self.stage.adopt()

    def _open_batches(self, sections: Sections, newest: CheckpointMarker | None) -> BatchStream:
        batches = BatchStream(
            rows_of(sections),
            self.config.rows_per_batch,
            rank=self.host.rank,
            num_ranks=self.host.num_ranks,
            micro_rows=self.config.micro_rows,
            end_row=self.config.num_steps * self.config.rows_per_batch,
        )
        if newest is not None:
            batches.load_state_dict(newest.data)
        return batches

    def _build(self, sections: Sections, rows: Manifest) -> tuple[Any, Any]:
        """The model and DeepSpeed's engine around it."""
        import deepspeed

        config = self.config
        kind = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
        causal_lm = build_model(
            config.model,
            str(rows.config["tokenizer"]),
            sections.run.seed,
            torch.device(kind),
            dtype,
        )
        require_all_trained(causal_lm)
        if config.lora is not None:
            add_lora(causal_lm, config.lora, config.model.init_from, sections.run.seed)
        model = PackedCausalLM(causal_lm, config.loss)
        if config.document_mask:
            require_separate_documents(model)
        torch.manual_seed(sections.run.seed * self.host.num_ranks + self.host.rank)  # dropout
        if config.activation_checkpointing:
            causal_lm.gradient_checkpointing_enable({"use_reentrant": False})
        if config.compile:
            compile_layers(causal_lm)
        model.train()
        engine, *_ = deepspeed.initialize(
            model=model,
            optimizer=make_optimizer(model, config.optimizer),
            config=deepspeed_config(config, self.host.num_ranks),
        )
        return causal_lm, engine

    def _resume(self, newest: CheckpointMarker | None) -> int:
        """Load a checkpoint; returns its step, 0 if there is none."""
        if newest is None:
            return 0
        self.checkpoints.restore(newest, self.state, self.causal_lm)
        if self.online is not None:
            self.online.load_state(newest.online)
        self.uncertainty.log_variances[:] = newest.uncertainty
        self.watch.load_state(newest.anomalies)
        return newest.step

    def _forward_backward(self, batches: list[Batch], num_tokens: np.ndarray) -> torch.Tensor:
        """Accumulate a step's gradients; returns this rank's losses by source, (sources,) fp64."""
        # DeepSpeed averages over ranks and micro-batches; undo both, divide by the global count.
        scale = self.host.num_ranks * len(batches) / max(1.0, float(num_tokens.sum()))
        scales = np.full(len(self.sources), scale)
        if self.config.loss.uncertainty_weighting:
            scales *= self.uncertainty.weights(num_tokens)
        sums = torch.zeros(len(self.sources), dtype=torch.float64, device=self.device)
        for number, batch in enumerate(batches):
            inputs = ModelInputs.of(
                batch, self.device, scales[batch.source_ids], self.config.document_mask
            )
            total, losses_BT = self.engine(inputs)
            self.engine.backward(total)
            sources = torch.from_numpy(batch.source_ids).to(self.device)
            sums.index_add_(0, sources, losses_BT.sum(dim=1, dtype=torch.float64))
            if number < len(batches) - 1:
                self.engine.step()  # of the last micro-batch's gradients, once losses are known
        return sums

    def _take_step(self, loss: float) -> tuple[str | None, float]:
        """Change the weights unless something is wrong; returns what, and the gradients' norm."""
        anomaly = self.watch.judge(loss)
        is_sharded = self.config.zero_stage > 0
        grad_norm = 0.0 if is_sharded else _grad_norm(self.causal_lm)
        if not math.isfinite(grad_norm):
            anomaly = anomaly or NOT_FINITE
        self.veto.is_on = anomaly is not None
        self.engine.step()
        if is_sharded:
            grad_norm = float(self.engine.get_global_grad_norm() or 0.0)
            if self.engine.optimizer.overflow:  # then DeepSpeed has taken no step either
                anomaly = anomaly or NOT_FINITE
                self.state.forget_gradients()
        self.watch.note(loss, anomaly)
        return anomaly, grad_norm

    def _is_hopeless(self) -> bool:
        if self.config.anomaly.policy == "stop":
            return self.watch.num_in_a_row > 0
        return self.watch.num_in_a_row >= self.config.anomaly.max_in_a_row

    def _roll_back(self, anomaly: str) -> str:
        """Take the weights of the last checkpoint; the batches since then are not seen again.

        Steps keep their numbers and rows, and mixing and watch keep what they have learned.
        """
        self.checkpoints.finish()
        newest = self.checkpoints.newest()
        if newest is None:
            return f"{anomaly}; there is no checkpoint to go back to, the step was skipped"
        self.checkpoints.restore(newest, self.state, self.causal_lm)
        return f"{anomaly}; went back to the weights of step {newest.step}"

    def _learn_from(self, loss_sums: np.ndarray, num_tokens: np.ndarray) -> None:
        """Let online mixing and loss weights follow the losses, on every rank alike."""
        losses = self.host.from_first(loss_sums / np.maximum(num_tokens, 1.0))
        if self.config.loss.uncertainty_weighting:
            self.uncertainty.observe(losses, num_tokens)
        if self.online is not None:
            shown = np.where(num_tokens > 0, losses, np.nan)
            weights = self.online.observe(self.step, shown)
            if weights is not None:
                self.batches.change_weights(weights.tolist())

    def _sum_over_ranks(self, values: torch.Tensor) -> np.ndarray:
        torch.distributed.all_reduce(values)
        summed: np.ndarray = values.cpu().numpy()
        return summed

    def _metrics(self, loss_sums: np.ndarray, num_tokens: np.ndarray) -> dict[str, Any]:
        rows_done = self.step * self.config.rows_per_batch
        metrics: dict[str, Any] = {
            "step": self.step,
            "loss": float(loss_sums.sum() / max(1.0, num_tokens.sum())),
            "data/rows": rows_done,
        }
        if self.batches.events and self.batches.events[-1].row == rows_done:
            metrics["data/weights"] = list(self.batches.events[-1].weights)
        for number, source in enumerate(self.sources):
            metrics[f"data/{source}/tokens"] = int(num_tokens[number])
            if num_tokens[number]:
                metrics[f"loss/{source}"] = float(loss_sums[number] / num_tokens[number])
        return metrics


def _grad_norm(model: torch.nn.Module) -> float:
    """L2 norm of the gradients of a model that every rank has whole."""
    grads = [weight.grad for weight in model.parameters() if weight.grad is not None]
    return float(torch.nn.utils.get_total_norm(grads))


def _tokens_by_source(batch: Batch, num_sources: int) -> np.ndarray:
    """Trained tokens of each source, (num_sources,) fp64."""
    counts = np.zeros(num_sources)
    np.add.at(counts, batch.source_ids, (batch.labels != IGNORE_LABEL).sum(axis=1))
    return counts
