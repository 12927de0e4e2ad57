"""The Ray actor that turns document parts into chain parts: one engine, several parts at once."""

import time
from dataclasses import dataclass
from typing import Any

from pipeline.contracts import Document, decode_document
from pipeline.shards import read_lines, write_shard
from pipeline.stage import FileEntry, PartCommit, StageFolder, StageIdentity
from synth.chains import ChainedPart, ChainRunner
from synth.config import SynthConfig
from synth.engines import Engine, make_engine
from synth.protocols import load_synthesizer_tokenizer, make_protocol
from synth.tally import Tally
from synth.writing import ModelWriter, PairWriter, RuleWriter

_REPORT_INTERVAL_S = 0.5


@dataclass(frozen=True)
class WorkerOrder:
    """Everything a worker needs, as JSON-like values that travel to any node."""

    config: dict[str, Any]
    documents_folder: str
    stage_folder: str
    identity: dict[str, Any]
    provenance: dict[str, str]
    board: Any
    """Handle of the `ProgressBoard` actor."""


class ProgressBoard:
    """A small Ray actor that sums what the workers report."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._by_part: dict[str, dict[str, int]] = {}

    def report(self, part: str, counts: dict[str, int]) -> None:
        """Replace the counts of one part."""
        self._by_part[part] = counts

    def totals(self) -> dict[str, int]:
        """Counts summed over all parts."""
        totals: dict[str, int] = {}
        for counts in self._by_part.values():
            for name, value in counts.items():
                totals[name] = totals.get(name, 0) + value
        return totals


class SynthWorker:
    """A Ray Data callable: a row names a part; the part is written and committed."""

    def __init__(self, order: WorkerOrder) -> None:
        """Load tokenizer and engine."""
        self._engine: Engine | None = None
        self._order = order
        self._stage = StageFolder(order.stage_folder, StageIdentity(**order.identity))
        config = SynthConfig.model_validate(order.config)
        writer = self._make_writer(config)
        provenance = order.provenance
        if self._engine is not None:  # `auto` may come out differently on another node
            provenance = provenance | {"dtype": self._engine.dtype}
        self._runner = ChainRunner(writer, config.shots_per_chain, provenance)

    async def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Write the parts of one batch (of size 1); returns their names and document counts."""
        written = [await self._write_part(str(part)) for part in batch["part"]]
        return {"part": [str(part) for part in batch["part"]], "documents": written}

    def __del__(self) -> None:
        """End the engine's process before the actor goes, so that a good run ends quietly."""
        if self._engine is not None:
            self._engine.shutdown()

    def _make_writer(self, config: SynthConfig) -> PairWriter:
        if config.protocol == "rules":
            return RuleWriter(config)
        tokenizer = load_synthesizer_tokenizer(config)
        protocol = make_protocol(config, tokenizer)
        self._engine = make_engine(config, tokenizer)
        return ModelWriter(config, tokenizer, protocol, self._engine)

    async def _write_part(self, part: str) -> int:
        if self._stage.is_committed(part):  # Ray retried a task whose work was done
            return 0
        name = f"{part}.jsonl.zst"
        documents = [
            document
            for line in read_lines(f"{self._order.documents_folder}/{name}")
            if (document := decode_document(line)).is_converted
        ]
        tally = Tally()
        reporter = _Reporter(self._order.board, part)
        written = await self._runner.run(documents, tally, reporter)
        reporter.send(tally)
        self._commit(part, documents, written, tally)
        return len(documents)

    def _commit(
        self, part: str, documents: list[Document], written: ChainedPart, tally: Tally
    ) -> None:
        self._stage.commit(
            PartCommit(
                part=part,
                files=write_chains(self._stage.folder, part, written),
                records_in=len(documents),
                records_out=sum(len(chain.shots) for chain in written.chains),
                counts=dict(tally.counts),
            )
        )


def write_chains(folder: str, part: str, written: ChainedPart) -> list[FileEntry]:
    """Write a part's chains, and beside them the pairs that were dropped."""
    entries = []
    for name, records in (
        (f"{part}.jsonl.zst", written.chains),
        (f"dropped/{part}.jsonl.zst", written.dropped),
    ):
        with write_shard(folder, name) as shard:
            for record in records:
                shard.write(record)
        entries.append(shard.entry())
    return entries


class _Reporter:
    """Sends a part's counts to the board, at most twice a second."""

    def __init__(self, board: Any, part: str) -> None:
        self._board, self._part = board, part
        self._last_s = 0.0

    def __call__(self, tally: Tally) -> None:
        if time.monotonic() - self._last_s >= _REPORT_INTERVAL_S:
            self.send(tally)

    def send(self, tally: Tally) -> None:
        self._last_s = time.monotonic()
        self._board.report.remote(self._part, dict(tally.counts))
