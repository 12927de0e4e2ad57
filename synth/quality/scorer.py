"""Any Hugging Face sequence classifier as a judge of pairs.

An input is the pair of sequences (instruction, response), or (instruction, response + text) with
`with_text`. The score is the probability of the configured label, or the one output of a
regression head as it is.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.contracts import Pair
from pipeline.errors import InputError
from pipeline.pretrained import load_tokenizer, resolve_model
from synth.quality.config import ScorerConfig

LOW_SCORE = "low_score"


class PairScorer:
    """Scores pairs in batches; tokenizer and weights load at the first pair."""

    def __init__(self, config: ScorerConfig) -> None:
        """Load nothing yet."""
        self._config = config
        self._model: Any = None
        self._tokenizer: Any = None

    def verdicts(self, text: str, pairs: Sequence[Pair]) -> list[str]:
        """For each pair `low_score` or empty, in order."""
        scores = self.score([(text, pair) for pair in pairs])
        return ["" if score >= self._config.min_score else LOW_SCORE for score in scores]

    def score(self, items: Sequence[tuple[str, Pair]]) -> list[float]:
        """The scores of pairs with their texts, in order.

        Batches hold inputs of like length, so that little of them is padding; a score does not
        depend on its batch beyond rounding.

        Raises:
            InputError: the model cannot be loaded, or has no such label.
        """
        if not items:
            return []
        if self._model is None:
            self._load()
        inputs = [self._input(text, pair) for text, pair in items]
        by_length = sorted(range(len(inputs)), key=lambda i: len(inputs[i][0]) + len(inputs[i][1]))
        scores = [0.0] * len(items)
        for positions in _batches(by_length, self._config.batch_size):
            batch = self._score_batch([inputs[position] for position in positions])
            for position, score in zip(positions, batch, strict=True):
                scores[position] = score
        return scores

    def _input(self, text: str, pair: Pair) -> tuple[str, str]:
        instruction = "\n".join((pair.instruction, *(f"- {option}" for option in pair.options)))
        response = "\n".join(filter(None, (pair.reasoning, pair.response)))
        return instruction, f"{response}\n\n{text}" if self._config.with_text else response

    def _score_batch(self, inputs: Sequence[tuple[str, str]]) -> list[float]:
        import torch

        encoded = self._tokenizer(
            [first for first, _ in inputs],
            [second for _, second in inputs],
            truncation="longest_first",
            max_length=self._config.max_length,
            padding=True,
            return_tensors="pt",
        ).to(self._config.device)
        with torch.inference_mode():
            logits = self._model(**encoded).logits.float()
        label = self._config.label
        scores = logits[:, 0] if label == "regression" else logits.softmax(-1)[:, label]
        return [float(score) for score in scores.tolist()]

    def _load(self) -> None:
        from transformers import AutoModelForSequenceClassification

        config = self._config
        self._tokenizer = load_tokenizer(config.model, revision=config.revision)
        try:
            model = AutoModelForSequenceClassification.from_pretrained(
                resolve_model(config.model),
                revision=config.revision or None,
                use_safetensors=True,
                trust_remote_code=False,
            )
        except (OSError, ValueError) as error:
            first_line = str(error).strip().splitlines()[0]
            raise InputError(f"scorer {config.model!r} cannot be loaded: {first_line}") from error
        num_labels = model.config.num_labels
        if config.label == "regression":
            if num_labels != 1:
                raise InputError(
                    f"scorer {config.model!r} has {num_labels} labels, which is no regression; "
                    f"set label to the index of the good one"
                )
        elif not 0 <= config.label < num_labels:
            raise InputError(
                f"scorer {config.model!r}: label ({config.label}) must be below its number of "
                f"labels ({num_labels})"
            )
        self._model = model.to(config.device).eval()


def _batches(positions: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(positions), size):
        yield positions[start : start + size]
