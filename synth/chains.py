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
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from pipeline.contracts import Chain, Document, Pair, Shot, chain_id
from synth.engines.protocol import RequestFailedError
from synth.slots import ChainSlots
from synth.tally import Tally
from synth.tasks import Task, Turn
from synth.writing import PairWriter, Written

_T = TypeVar("_T")


@dataclass(frozen=True)
class DroppedPair:
    """A pair that a check dropped, kept beside the chains for people to look at."""

    doc_id: str
    reason: str
    pair: Pair
    style: str = ""
    detail: str = ""
    """What the reason rests on, where there is more to say."""


@dataclass(frozen=True)
class QuarantinedDocument:
    """A document that nothing can be written about; its text stays, raw."""

    doc_id: str
    error: str


@dataclass
class ChainedPart:
    """What came of one part: every document is a shot of exactly one chain."""

    chains: list[Chain] = field(default_factory=list)
    dropped: list[DroppedPair] = field(default_factory=list)
    quarantined: list[QuarantinedDocument] = field(default_factory=list)


@dataclass
class WrittenGroup:
    """What came of M consecutive documents, which make one chain or several."""

    shots: list[Shot] = field(default_factory=list)
    dropped: list[DroppedPair] = field(default_factory=list)
    quarantined: list[QuarantinedDocument] = field(default_factory=list)
    counts: Mapping[str, int] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Which documents it is about."""
        return chain_id([shot.doc_id for shot in self.shots])


class Journal(Protocol):
    """Where finished groups of an unfinished part survive a kill; see `synth.journal`."""

    def find(self, key: str) -> WrittenGroup | None:
        """The group over exactly these documents, if an earlier attempt at the part wrote it."""
        ...

    async def add(self, group: WrittenGroup) -> None:
        """Keep a group."""
        ...


@dataclass(frozen=True)
class Care:
    """For a part during which workers died: one document after another, each announced."""

    killers: Mapping[str, str]
    """Documents not to be touched any more, and what they did."""
    announce: Callable[[str], Awaitable[None]]
    """Called with a document's id before anything is done with it, and with nothing at the end."""


class ChainRunner:
    """Writes chains with one writer; all parts of a worker share it and its slots."""

    def __init__(
        self,
        writer: PairWriter,
        shots_per_chain: int,
        provenance: dict[str, str],
        slots: ChainSlots,
    ) -> None:
        """Take what writes the pairs, how many chains at once, and what is kept beside each."""
        self._writer, self._size, self._slots = writer, shots_per_chain, slots
        self._provenance = provenance

    async def run(
        self,
        documents: Sequence[Document],
        tally: Tally,
        journal: Journal | None = None,
        care: Care | None = None,
    ) -> ChainedPart:
        """Write all chains of one part's documents, in document order.

        Args:
            documents: documents of one source, in part order.
            tally: receives the counts.
            journal: holds what an earlier attempt finished, and takes what this one does.
            care: given where the part is suspected of ending workers.

        Raises:
            JobFailedError: there is no engine any more.
        """
        starts = range(0, len(documents), self._size)
        groups = [documents[start : start + self._size] for start in starts]
        if care is not None:
            written = [await self._run_group(group, tally, journal, care) for group in groups]
            await care.announce("")
        else:
            # The longest first: where nothing follows, short ones are left to fill the engine.
            order = sorted(range(len(groups)), key=lambda index: -_num_chars(groups[index]))
            results = await _all_or_first_error(
                [self._run_group(groups[index], tally, journal, None) for index in order]
            )
            by_index = dict(zip(order, results, strict=True))
            written = [by_index[index] for index in range(len(groups))]
        part = ChainedPart()
        for documents_of, group in zip(groups, written, strict=True):
            provenance = dict(group.provenance)
            part.chains += split_chains(documents_of[0].source, group.shots, provenance)
            part.dropped += group.dropped
            part.quarantined += group.quarantined
        return part

    async def _run_group(
        self,
        documents: Sequence[Document],
        tally: Tally,
        journal: Journal | None,
        care: Care | None,
    ) -> WrittenGroup:
        key = chain_id([document.id for document in documents])
        if journal is not None and (found := journal.find(key)) is not None:
            tally.add_all("", found.counts)
            return found
        async with self._slots.taken():
            own = tally.share()
            group = WrittenGroup(counts=own.counts, provenance=self._provenance)
            history: list[Turn] = []
            for document in documents:
                history = await self._run_document(document, history, group, own, care)
        self._slots.note(own.counts)
        if journal is not None:
            await journal.add(group)
        return group

    async def _run_document(
        self,
        document: Document,
        history: list[Turn],
        group: WrittenGroup,
        tally: Tally,
        care: Care | None,
    ) -> list[Turn]:
        """Write about one document; return what the next one is written in sight of."""
        try:
            if care is not None:
                await _approach(document, care)
            written = await self._writer.write(history, document, tally)
        except RequestFailedError as error:
            group.quarantined.append(QuarantinedDocument(document.id, str(error)))
            tally.add("documents_quarantined")
            written = Written(Task())
        group.shots.append(Shot(document.id, document.text, written.pairs, written.provenance))
        for pair, reason, style in written.dropped:
            group.dropped.append(DroppedPair(document.id, reason, pair, style))
            tally.add(f"pairs_dropped.{reason}")
        tally.add("documents")
        tally.add("pairs", len(written.pairs))
        if not written.pairs:  # breaks the chain: the text stays raw, what follows starts afresh
            tally.add("documents_without_pair")
            return []
        return [*history, Turn(document.text, written.task, written.pairs)]


def _num_chars(documents: Sequence[Document]) -> int:
    return sum(len(document.text) for document in documents)


async def _all_or_first_error(work: Sequence[Coroutine[Any, Any, _T]]) -> list[_T]:
    """Results in order; where one fails, the others are cancelled and its error is raised."""
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(each) for each in work]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in running]


async def _approach(document: Document, care: Care) -> None:
    if document.id in care.killers:
        raise RequestFailedError(care.killers[document.id])
    await care.announce(document.id)


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
