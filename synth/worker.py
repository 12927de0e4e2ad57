"""The Ray actor that turns document parts into chain parts: one engine, several parts at once.

Its lanes take part after part from the job's board until none is left. So parts of a worker that is
gone go to whoever is there, and handing one out costs a millisecond, however many there are.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.contracts import Document, decode_document
from pipeline.errors import JobFailedError
from pipeline.process import ProcessFamily
from pipeline.progress import log_line
from pipeline.shards import read_lines, write_shard
from pipeline.stage import FileEntry, PartCommit, StageFolder, StageIdentity
from synth.board import FinishedPart, Reply, WorkerReport
from synth.chains import Care, ChainedPart, ChainRunner
from synth.config import SynthConfig
from synth.engines.choosing import make_engine
from synth.engines.protocol import EngineLimits
from synth.engines.supervision import SupervisedEngine
from synth.journal import PartJournal
from synth.part_queue import Assignment
from synth.protocols import load_synthesizer_tokenizer, make_protocol
from synth.slots import ChainSlots
from synth.tally import Tally
from synth.writing import ModelWriter, PairWriter, RuleWriter

_REPORT_INTERVAL_S = 1.0
_ASK_AGAIN_S, _MAX_ASK_AGAIN_S = 0.5, 5.0
_ONE_AT_A_TIME = EngineLimits(max_requests=1)


@dataclass(frozen=True)
class WorkerOrder:
    """Everything a worker needs, as JSON-like values that travel to any node."""

    config: dict[str, Any]
    documents_folder: str
    stage_folder: str
    identity: dict[str, Any]
    provenance: dict[str, str]
    board: Any
    """Handle of the `JobBoard` actor."""


class SynthWorker:
    """A Ray actor with one life: `begin` loads what it works with, `run` writes parts."""

    def __init__(self, order: WorkerOrder) -> None:
        """Take the order; what may fail is left to `begin`, whose errors reach the driver whole."""
        import ray

        self._order, self._name = order, ray.get_runtime_context().get_actor_id()
        self._stage = StageFolder(order.stage_folder, StageIdentity(**order.identity))
        self._config = SynthConfig.model_validate(order.config)
        self._family: ProcessFamily | None = None
        self._engine: SupervisedEngine | None = None
        self._tallies: dict[str, Tally] = {}
        """Counts so far, by each part that a lane of this worker has."""

    async def begin(self) -> None:
        """Load tokenizer and engine.

        Raises:
            InputError: a model, tokenizer or server that is not there.
            JobFailedError: the engine does not start.
        """
        import ray

        try:
            await asyncio.to_thread(self._load)
        except Exception as error:
            self._close()
            node, said = ray.util.get_node_ip_address(), str(error).strip().partition("\n")[0]
            trouble = f"no worker on {node}: {type(error).__name__}: {said}"
            await self._order.board.complain.remote(trouble)
            raise

    async def run(self, num_lanes: int) -> int:
        """Write and commit parts, so many at once, until none is left; returns how many.

        Raises:
            JobFailedError: there is no engine any more, here or anywhere.
            OSError: a part cannot be read or written.
        """
        pulse = asyncio.create_task(self._keep_reporting())
        try:
            return sum(await asyncio.gather(*(self._run_lane() for _ in range(num_lanes))))
        finally:
            pulse.cancel()
            self._close()

    def _load(self) -> None:
        writer = self._make_writer()
        provenance, limits = self._order.provenance, _ONE_AT_A_TIME
        if self._engine is not None:  # `auto` may come out differently on another node
            provenance = provenance | {"dtype": self._engine.dtype}
            limits = self._engine.limits
        self._runner = ChainRunner(
            writer, self._config.shots_per_chain, provenance, ChainSlots(limits)
        )

    def _close(self) -> None:
        """End the engine's processes before the actor goes, so that a good run ends quietly."""
        if self._engine is not None:
            self._engine.shutdown()
        if self._family is not None:
            self._family.close()

    def _make_writer(self) -> PairWriter:
        config = self._config
        if config.protocol == "rules":
            return RuleWriter(config)
        tokenizer = load_synthesizer_tokenizer(config)
        protocol = make_protocol(config, tokenizer)
        self._family = ProcessFamily()
        self._engine = make_engine(config, tokenizer, self._family)
        return ModelWriter(config, protocol, self._engine)

    async def _run_lane(self) -> int:
        """Write part after part; returns how many."""
        board, num_parts, wait_s = self._order.board, 0, _ASK_AGAIN_S
        reply: Reply = await board.take.remote(self._name)
        while not reply.is_over:
            part = reply.assignment.part if reply.assignment is not None else ""
            if reply.assignment is None or part in self._tallies:
                # Others still write the last parts, and may fail; or the board was out of touch
                # with this worker, and gives it what another of its lanes has.
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, _MAX_ASK_AGAIN_S)
                reply = await board.take.remote(self._name)
                continue
            try:
                finished = await self._write_part(reply.assignment)
            except JobFailedError as error:
                log_line(f"this worker gives up: {error}")
                if await board.leave.remote(self._name):
                    return num_parts
                raise
            num_parts, wait_s = num_parts + 1, _ASK_AGAIN_S
            reply = await board.finish.remote(self._name, finished)
        return num_parts

    async def _write_part(self, assignment: Assignment) -> FinishedPart:
        part = assignment.part
        with self._tally_of(part) as tally:
            # By a worker that was given up, or by another run.
            if await asyncio.to_thread(self._stage.is_committed, part):
                log_line(f"{part} is committed already")
                return FinishedPart(part, {}, is_ours=False)
            log_line(f"{part} begun")
            journal = await asyncio.to_thread(self._open_journal, assignment)
            documents = await asyncio.to_thread(self._read_documents, part)
            written = await self._runner.run(
                documents, tally, journal=journal, care=self._care_for(assignment)
            )
            commit = await asyncio.to_thread(self._save, part, documents, written, tally)
            is_ours = await asyncio.to_thread(self._stage.commit_once, commit)
        if journal is not None:
            await asyncio.to_thread(journal.remove)
        log_line(f"{part} {'committed' if is_ours else 'was committed by another worker'}")
        return FinishedPart(part, commit.counts, is_ours)

    def _open_journal(self, assignment: Assignment) -> PartJournal | None:
        # A careful part is written slowly and may end another worker: keep what is finished of it.
        if not (self._config.journal or assignment.is_careful):
            return None
        journal = PartJournal(self._stage.folder, assignment.part)
        if len(journal):
            log_line(f"{assignment.part}: {len(journal)} chains out of the journal")
        return journal

    def _read_documents(self, part: str) -> list[Document]:
        return [
            document
            for line in read_lines(f"{self._order.documents_folder}/{part}.jsonl.zst")
            if (document := decode_document(line)).is_converted
        ]

    def _care_for(self, assignment: Assignment) -> Care | None:
        if not assignment.is_careful:
            return None

        async def announce(document: str) -> None:
            await self._order.board.announce.remote(self._name, document)

        return Care(assignment.killers, announce)

    def _save(
        self, part: str, documents: list[Document], written: ChainedPart, tally: Tally
    ) -> PartCommit:
        """Write the part's files, under names that no other attempt at it uses."""
        files = write_chains(self._stage.folder, part, written, suffix=f"-{uuid.uuid4().hex[:8]}")
        return PartCommit(
            part=part,
            files=files,
            records_in=len(documents),
            records_out=sum(len(chain.shots) for chain in written.chains),
            counts=dict(tally.counts),
        )

    @contextlib.contextmanager
    def _tally_of(self, part: str) -> Iterator[Tally]:
        """Counts of a part that a lane has, which the reports show."""
        tally = self._tallies[part] = Tally()
        try:
            yield tally
        finally:
            del self._tallies[part]

    async def _keep_reporting(self) -> None:
        """Tell the board how this worker gets on."""
        while True:
            counts = {part: dict(tally.counts) for part, tally in self._tallies.items()}
            restarts = self._engine.num_restarts if self._engine is not None else 0
            self._order.board.report.remote(self._name, WorkerReport(counts, restarts))
            await asyncio.sleep(_REPORT_INTERVAL_S)


def write_chains(folder: str, part: str, written: ChainedPart, suffix: str = "") -> list[FileEntry]:
    """Write a part's chains, and beside them what was dropped and what was quarantined."""
    entries = []
    for name, records in (
        (f"{part}{suffix}.jsonl.zst", written.chains),
        (f"dropped/{part}{suffix}.jsonl.zst", written.dropped),
        (f"quarantined/{part}{suffix}.jsonl.zst", written.quarantined),
    ):
        if records is written.quarantined and not records:
            continue
        with write_shard(folder, name) as shard:
            for record in records:
                shard.write(record)
        entries.append(shard.entry())
    return entries
