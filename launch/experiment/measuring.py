"""What each trained model is measured by: loss on the held-out texts, scores on tasks.

    DIR/heldout/rows ──▶ DIR/ARM/seed-N/heldout.json    loss, and which model and rows it is of
    tasks            ──▶ DIR/scores/<key>.json          as `train.scores` keeps them

What is measured is kept, and a model of which all is known is not loaded.
"""

import functools
import gc
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from launch.experiment.arms import Experiment
from launch.experiment.data import heldout_texts
from pipeline import storage
from pipeline.config import StrictConfig
from pipeline.kept import model_key
from pipeline.run_folder import RunFolder
from pipeline.stage import read_manifest
from train.config import Attention
from train.harness import Tasks
from train.scores import KeptScores, Scores

_FILE = "heldout.json"
_ALL_ROWS, _ROWS_AT_ONCE = 2**31, 8


class HeldoutMeasurement(StrictConfig):
    """The content of `heldout.json`."""

    model: str
    """Key of the model's files."""
    rows: str
    """Key of the held-out rows."""
    document_mask: bool
    loss: float
    """Nats per token."""
    tokens: int
    """Tokens that were predicted."""


@dataclass(frozen=True)
class Measured:
    """All measures of one model."""

    loss: float
    """Nats per token of the held-out texts."""
    bits_per_byte: float
    """Of all predicted tokens, per byte of text, so that tokenizers compare."""
    scores: Scores

    @property
    def perplexity(self) -> float:
        """Of a token."""
        return math.exp(min(self.loss, 700.0))


class Meter:
    """Measures models of an experiment whose data is complete."""

    def __init__(self, experiment: Experiment) -> None:
        """Find the tasks.

        Raises:
            InputError: the held-out rows are not complete, or a task is not usable.
        """
        self._folder, self._train = experiment.folder, experiment.base.train
        rows = read_manifest(self._folder.heldout.rows)
        self._rows_key = rows.input_key()
        self._num_bytes = sum(len(text.encode()) for text in heldout_texts(experiment))
        self._task_sets: Sequence[Tasks] = [Tasks(config) for config in experiment.tasks]

    def measure(self, folder: RunFolder) -> Measured:
        """Measure the model that a run has exported.

        Raises:
            InputError: it cannot be loaded, or a task is not usable.
        """
        key = model_key(folder.hf)
        heldout = self._heldout(folder, key)
        scores: Scores = {}
        for tasks in self._task_sets:
            scores |= self._score(tasks, folder, key)
        num_bits = heldout.loss * heldout.tokens / math.log(2)
        return Measured(heldout.loss, num_bits / self._num_bytes, scores)

    def _heldout(self, folder: RunFolder, key: str) -> HeldoutMeasurement:
        uri = storage.join(folder.root, _FILE)
        mask, attention = self._train.document_mask, self._train.model.attention
        if storage.exists(uri):
            kept = HeldoutMeasurement.model_validate_json(storage.read_bytes(uri))
            if (kept.model, kept.rows, kept.document_mask) == (key, self._rows_key, mask):
                return kept
        loss, tokens = _heldout_loss(
            folder.hf, self._folder.heldout.rows, attention, document_mask=mask
        )
        measured = HeldoutMeasurement(
            model=key, rows=self._rows_key, document_mask=mask, loss=loss, tokens=tokens
        )
        storage.write_atomic(uri, json.dumps(measured.model_dump(), indent=1).encode())
        return measured

    def _score(self, tasks: Tasks, folder: RunFolder, key: str) -> Scores:
        from train.comparison import load_model, score_model

        kept = KeptScores(self._folder.scores, tasks.settings)
        scores = score_model(tasks, kept, key, functools.partial(load_model, folder.hf))
        gc.collect()  # the harness's own cycles would hold this model beside the next
        return scores


def _heldout_loss(
    model_folder: str, rows: str, attention: Attention, *, document_mask: bool
) -> tuple[float, int]:
    """Mean loss in nats over the tokens of all held-out rows, and their number."""
    from pipeline.progress import StageProgress
    from train.evaluate import load_for_rows
    from train.heldout import evaluate, read_heldout
    from train.model import PackedCausalLM

    model, heldout = load_for_rows(model_folder, attention), read_heldout(rows, _ALL_ROWS)
    with StageProgress("compare", "rows", len(heldout.rows)) as progress:
        losses = evaluate(
            PackedCausalLM(model),
            heldout,
            model.device,
            _ROWS_AT_ONCE,
            document_mask,
            progress.update,
        )
    (of_texts,) = losses.by_source.values()
    return of_texts.mean, int(of_texts.tokens)
