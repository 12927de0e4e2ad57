"""What the chains of a run hold: corpus metrics, styles, lengths, and chains to read.

Documents are read from the beginning of parts that `choose_parts` names, with the dropped pairs
that lie beside them; memory holds the ids of the documents read, never their texts.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from launch.report.dropped import DroppedExamples, gather_dropped_pairs
from launch.report.sampling import FewestHash, choose_parts
from launch.report.stages import StageFigures
from pipeline import storage
from pipeline.contracts import Chain, decode_chain
from pipeline.shards import read_lines
from synth.quality.collapse import CorpusMetrics
from synth.quality.words import count_words, split_words

NUM_EXAMPLES, _NUM_MULTI_SHOT = 8, 2
_TEXT_WORD_BINS = (0, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


@dataclass(frozen=True)
class CorpusFigures:
    """Figures of the documents that were read, of one stage's chains."""

    stage: str
    is_complete: bool
    num_documents: int
    num_documents_of: int
    num_parts: int
    num_parts_of: int
    metrics: Mapping[str, Any]
    """`CorpusMetrics.result()`."""
    text_words: Mapping[str, int]
    """Documents by length in words."""
    shots_per_chain: Mapping[int, int]
    """Chains by number of documents."""
    style_pairs: Counter[str]
    """Pairs by task style; the style of a protocol without styles is empty."""
    languages: Mapping[str, int]
    """Documents by the language that synthesis noted."""
    provenance: Mapping[str, Sequence[str]]
    """Values of each field that the chains' provenance takes."""
    examples: Sequence[Chain]
    dropped: Mapping[str, DroppedExamples]
    """Of the documents read, by stage."""


def gather_corpus(stages: Mapping[str, StageFigures], max_documents: int) -> CorpusFigures | None:
    """Read the chains of the filter stage, or of synthesis while that is not complete.

    Returns:
        The figures, or None where no chain is committed.
    """
    stage = stages["filter"] if stages["filter"].is_complete else stages["synth"]
    documents = {part: commit.records_out for part, commit in stage.parts.items()}
    quotas = choose_parts(documents, max_documents)
    if not quotas:
        return None
    reader = _ChainReader()
    for part, quota in quotas.items():
        reader.read(storage.join(stage.folder, stage.parts[part].shard), part, quota)
    dropped = {
        name: gather_dropped_pairs(stages[name], reader.ids_by_part) for name in ("synth", "filter")
    }
    return CorpusFigures(
        stage=stage.name,
        is_complete=stage.is_complete,
        num_documents=sum(map(len, reader.ids_by_part.values())),
        num_documents_of=sum(documents.values()),
        num_parts=len(quotas),
        num_parts_of=sum(count > 0 for count in documents.values()),
        metrics=reader.metrics.result(),
        text_words=_word_histogram(reader.text_words),
        shots_per_chain=dict(sorted(reader.shots_per_chain.items())),
        style_pairs=reader.style_pairs,
        languages=reader.languages,
        provenance={name: sorted(values) for name, values in reader.provenance.items()},
        examples=reader.examples(),
        dropped=dropped,
    )


class _ChainReader:
    """Takes in chains one at a time."""

    def __init__(self) -> None:
        self.metrics = CorpusMetrics()
        self.ids_by_part: dict[str, set[str]] = {}
        self.text_words: Counter[int] = Counter()
        self.shots_per_chain: Counter[int] = Counter()
        self.style_pairs: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()
        self.provenance: dict[str, set[str]] = {}
        self._single = FewestHash[Chain](NUM_EXAMPLES)
        self._multi = FewestHash[Chain](NUM_EXAMPLES)

    def read(self, uri: str, part: str, num_documents: int) -> None:
        """Take whole chains from the beginning of a shard until `num_documents` are reached."""
        ids = self.ids_by_part.setdefault(part, set())
        for line in read_lines(uri):
            if len(ids) >= num_documents:
                break
            chain = decode_chain(line)
            ids.update(shot.doc_id for shot in chain.shots)
            self._add(chain)

    def examples(self) -> list[Chain]:
        """Chains to show: two of several documents, the rest of one, as far as there are."""
        multi, single = list(self._multi), list(self._single)
        num_multi = max(_NUM_MULTI_SHOT, NUM_EXAMPLES - len(single))
        chosen = multi[:num_multi]
        return chosen + single[: NUM_EXAMPLES - len(chosen)]

    def _add(self, chain: Chain) -> None:
        for name, value in chain.provenance.items():
            self.provenance.setdefault(name, set()).add(value)
        for shot in chain.shots:
            self.metrics.add(shot.text, shot.pairs)
            num_words = count_words(split_words(shot.text))
            self.text_words[bisect_right(_TEXT_WORD_BINS, num_words) - 1] += 1
            if shot.pairs:
                self.style_pairs[shot.provenance.get("style", "")] += len(shot.pairs)
            if language := shot.provenance.get("language"):
                self.languages[language] += 1
        if all(shot.pairs for shot in chain.shots):
            self.shots_per_chain[len(chain.shots)] += 1
            (self._multi if len(chain.shots) > 1 else self._single).offer(chain.id, chain)


def _word_histogram(counts: Mapping[int, int]) -> dict[str, int]:
    """All bins, empty ones too, named by their bounds."""
    names = [f"{low}-{high - 1}" for low, high in pairwise(_TEXT_WORD_BINS)]
    names.append(f"{_TEXT_WORD_BINS[-1]}+")
    return {name: counts.get(position, 0) for position, name in enumerate(names)}
