"""Held-out evaluation while training: losses by source and kind, and a completion."""

from typing import Any

import torch

from pipeline.stage import Manifest
from train.evaluate import sample
from train.heldout import add_up, evaluate, read_heldout
from train.process_group import Host
from train.sections import Sections


class HeldoutEvaluation:
    """Evaluates every so many steps; all ranks take part."""

    def __init__(
        self, sections: Sections, rows: Manifest, host: Host, device: torch.device
    ) -> None:
        """Read this rank's share of the held-out rows, if there are to be evaluations."""
        self._config = sections.train.heldout
        self._train, self._host, self._device = sections.train, host, device
        self._tokenizer = str(rows.config["tokenizer"])
        if self._config.every:
            self._rows = read_heldout(
                sections.folder.rows, self._config.max_rows, host.rank, host.num_ranks
            )

    def is_due(self, step: int, is_last: bool) -> bool:
        """Whether there is an evaluation after this step."""
        return bool(self._config.every) and (is_last or step % self._config.every == 0)

    def run(self, engine: Any, causal_lm: Any) -> dict[str, Any]:
        """The metrics of an evaluation, the same on every rank but for the completion."""
        engine.eval()
        losses = evaluate(
            engine,
            self._rows,
            self._device,
            self._train.micro_rows,
            self._train.document_mask,
        )
        metrics: dict[str, Any] = add_up(losses, self._rows.sources, self._host.sum).metrics()
        if self._config.sample_tokens and self._host.rank == 0:
            metrics["sample"] = sample(
                causal_lm, self._tokenizer, self._config.prompt, self._config.sample_tokens
            )
        engine.train()
        return metrics
