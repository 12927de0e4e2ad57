"""Texts to token ids, between the marks of a document, with the spans that are trained on.

text        Q: Who?  A: Washington      response: characters 12 to 22
ids     <s> 41 9 77  3 9 5120 88 </s>   spans: tokens 7 to 10 (the end belongs to the answer)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.contracts import RenderedText, Span
from pipeline.errors import InputError
from pipeline.packing.config import LossOn
from pipeline.pretrained import load_tokenizer
from pipeline.rows import token_dtype

_BATCH_TEXTS = 256


@dataclass(frozen=True)
class TokenisedText:
    """One text as tokens."""

    ids: np.ndarray
    """(n,) uint16 or uint32, document marks included."""
    spans: np.ndarray | None = None
    """(spans, 2) int64 token ranges that are trained on; None: all of it."""


class Tokeniser:
    """A model's tokenizer, as packing uses it."""

    def __init__(self, reference: str, *, always_bos: bool = False) -> None:
        """Load the tokenizer of a model reference.

        Args:
            reference: of the model.
            always_bos: begin with BOS even where the tokenizer itself adds none.

        Raises:
            InputError: there is none, or it has no EOS, no BOS that is asked for, or no fast
                implementation.
        """
        self._tokenizer = load_tokenizer(reference)
        if self._tokenizer.eos_token_id is None:
            raise InputError(f"tokenizer {reference!r} has no EOS to end documents with")
        self._encoder = self._tokenizer.backend_tokenizer
        self.dtype = token_dtype(len(self._tokenizer))
        prefix, suffix = document_marks(self._tokenizer)
        if always_bos and (bos := self._tokenizer.bos_token_id) is None:
            raise InputError(
                f"tokenizer {reference!r} has no BOS, which a synthesizer's examples begin with"
            )
        elif always_bos:
            prefix = [bos]
        self._prefix = np.array(prefix, dtype=self.dtype)
        self._suffix = np.array(suffix, dtype=self.dtype)

    @property
    def pad_id(self) -> int:
        """What stands behind the last document of a row."""
        pad = self._tokenizer.pad_token_id
        return int(pad if pad is not None else self._tokenizer.eos_token_id)

    def encode(
        self, texts: Sequence[RenderedText], loss_on: LossOn | None
    ) -> Iterator[TokenisedText]:
        """Tokenise texts in order.

        Args:
            texts: as a model reads them.
            loss_on: which of their spans are trained on; None: everything.
        """
        # "</s>" in a text is text, not the end of it; calls of the tokenizer itself reset this.
        self._encoder.encode_special_tokens = True
        for start in range(0, len(texts), _BATCH_TEXTS):
            batch = texts[start : start + _BATCH_TEXTS]
            strings = [text.text for text in batch]
            if loss_on is None:  # without offsets, which costs less
                for encoding in self._encoder.encode_batch_fast(strings, add_special_tokens=False):
                    yield TokenisedText(self._marked(encoding.ids))
                continue
            encodings = self._encoder.encode_batch(strings, add_special_tokens=False)
            for text, encoding in zip(batch, encodings, strict=True):
                spans = self._spans(text, encoding, loss_on)
                yield TokenisedText(self._marked(encoding.ids), spans)

    def responses(self, text: RenderedText) -> list[tuple[int, int, str]]:
        """Token ranges of a text's responses as `encode` counts them, with their pairs' kinds."""
        wanted = [span for span in text.spans if span.role == "response"]
        if not wanted:
            return []
        self._encoder.encode_special_tokens = True
        encoding = self._encoder.encode(text.text, add_special_tokens=False)
        ranges = self._ranges(text, encoding, wanted)
        return [
            (start, end, span.kind)
            for (start, end), span in zip(ranges.tolist(), wanted, strict=True)
            if start < end
        ]

    def _marked(self, ids: list[int]) -> np.ndarray:
        begin, end = len(self._prefix), len(self._prefix) + len(ids)
        marked = np.empty(end + len(self._suffix), dtype=self.dtype)
        marked[:begin], marked[begin:end], marked[end:] = self._prefix, ids, self._suffix
        return marked

    def _spans(self, text: RenderedText, encoding: Any, loss_on: LossOn) -> np.ndarray:
        wanted = [span for span in text.spans if loss_on == "pairs" or span.role == "response"]
        spans = self._ranges(text, encoding, wanted)
        return spans[spans[:, 0] < spans[:, 1]]

    def _ranges(self, text: RenderedText, encoding: Any, wanted: Sequence[Span]) -> np.ndarray:
        """Token ranges of some spans; one that ends the text has the end mark too."""
        offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
        begins = np.searchsorted(offsets[:, 1], [span.start for span in wanted], side="right")
        ends = np.searchsorted(offsets[:, 0], [span.end for span in wanted], side="left")
        spans = np.stack([begins, ends], axis=1) + len(self._prefix)
        if wanted and wanted[-1].end == len(text.text):
            spans[-1, 1] += len(self._suffix)
        return spans


def document_marks(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Token ids before and after each document: BOS where the tokenizer adds one, and EOS."""
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    adds_bos = bos is not None and bos in tokenizer("")["input_ids"]
    return ([bos] if adds_bos else []), [eos]
