"""Chains: each document is written about in sight of the documents and pairs before it.

With M = 2 and documents A B C D, where B brings no pair:

    A ──▶ pairs ─┐
                 └▶ B ──▶ no pair      chains: [A]  [B raw]
    C ──▶ pairs ─┐
                 └▶ D ──▶ pairs        chains: [C D]

Groups run side by side and no round waits for another group: the request for D goes out the moment
C's reply is there, while C's prefix is still in the KV cache.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from pipeline.contracts import Chain, Document, Pair, Shot, chain_id
from synth.tally import Tally
from synth.tasks import Turn
from synth.writing import PairWriter


@dataclass(frozen=True)
class DroppedPair:
    """A pair that a check dropped, kept beside the chains for people to look at."""

    doc_id: str
    reason: str
    pair: Pair
    style: str = ""
    detail: str = ""
    """What the reason rests on, where there is more to say."""


@dataclass
class ChainedPart:
    """What came of one part: every document is a shot of exactly one chain."""

    chains: list[Chain] = field(default_factory=list)
    dropped: list[DroppedPair] = field(default_factory=list)


class ChainRunner:
    """Writes chains with one writer; all parts of a worker share it."""

    def __init__(
        self, writer: PairWriter, shots_per_chain: int, provenance: dict[str, str]
    ) -> None:
        """Take what writes the pairs, and what is kept beside each chain."""
        self._writer, self._size = writer, shots_per_chain
        self._provenance = provenance

    async def run(
        self, documents: Sequence[Document], tally: Tally, on_document: Callable[[Tally], None]
    ) -> ChainedPart:
        """Write all chains of one part's documents, in document order.

        Args:
            documents: documents of one source, in part order.
            tally: receives the counts.
            on_document: called after each document, for progress.
        """
        groups = [
            documents[start : start + self._size] for start in range(0, len(documents), self._size)
        ]
        results = await asyncio.gather(
            *(self._run_group(group, tally, on_document) for group in groups)
        )
        part = ChainedPart()
        for group, (shots, dropped) in zip(groups, results, strict=True):
            part.chains += split_chains(group[0].source, shots, self._provenance)
            part.dropped += dropped
        return part

    async def _run_group(
        self, group: Sequence[Document], tally: Tally, on_document: Callable[[Tally], None]
    ) -> tuple[list[Shot], list[DroppedPair]]:
        history: list[Turn] = []
        shots: list[Shot] = []
        dropped: list[DroppedPair] = []
        for document in group:
            written = await self._writer.write(history, document, tally)
            shots.append(Shot(document.id, document.text, written.pairs, written.provenance))
            for pair, reason, style in written.dropped:
                dropped.append(DroppedPair(document.id, reason, pair, style))
                tally.add(f"pairs_dropped.{reason}")
            if written.pairs:
                history.append(Turn(document.text, written.task, written.pairs))
            else:  # breaks the chain: the text stays raw, what follows starts afresh
                history = []
                tally.add("documents_without_pair")
            tally.add("documents")
            tally.add("pairs", len(written.pairs))
            on_document(tally)
        return shots, dropped


def split_chains(source: str, shots: Sequence[Shot], provenance: dict[str, str]) -> Iterator[Chain]:
    """Chains of consecutive shots; one without pairs ends its chain and stands alone."""
    run: list[Shot] = []
    for shot in shots:
        if shot.pairs:
            run.append(shot)
            continue
        if run:
            yield _chain(source, run, provenance)
        yield _chain(source, [replace(shot, provenance={})], provenance)
        run = []
    if run:
        yield _chain(source, run, provenance)


def _chain(source: str, shots: Sequence[Shot], provenance: dict[str, str]) -> Chain:
    identity = chain_id([shot.doc_id for shot in shots])
    return Chain(identity, source, tuple(shots), provenance)
