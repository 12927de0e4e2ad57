"""Folders of runs for the tests of the report, made by the writers that the stages use."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.contracts import Document, Pair, Shot, document_id
from pipeline.opening import open_stage
from pipeline.run_folder import RunFolder
from pipeline.shards import write_shard
from pipeline.stage import FileEntry, PartCommit, StageFolder
from synth.chains import ChainedPart, DroppedPair, split_chains
from synth.worker import write_chains

SOURCE = "made-up"
PROVENANCE = {
    "synthesizer": "fake",
    "revision": "",
    "wire_format": "chat",
    "sampling": "temperature=0.7",
    "code_version": "0.1.0",
}
STAGES = ("ingest", "synth", "filter", "pack", "train", "export", "eval")


@dataclass(frozen=True)
class Written:
    """One document and what synthesis and filter did with its pairs."""

    text: str
    pairs: tuple[Pair, ...] = ()
    """Those that survive everything."""
    dropped: tuple[tuple[Pair, str], ...] = ()
    """By synthesis, with reasons."""
    filtered: tuple[tuple[Pair, str], ...] = ()
    """By the filter stage, with reasons."""
    style: str = "faq"

    @property
    def doc_id(self) -> str:
        return document_id(SOURCE, self.text)


def write_run(
    root: Path,
    parts: Sequence[Sequence[Written]],
    *,
    until: str = "eval",
    bad_records: Sequence[tuple[str, str]] = (),
    losses: Sequence[float] = (4.0, 3.0, 2.0),
) -> RunFolder:
    """Write all stages up to `until`.

    Args:
        root: the run's folder.
        parts: documents by part.
        until: the last stage that is written.
        bad_records: reason and excerpt of each record that ingest drops.
        losses: training loss by step.
    """
    folder = RunFolder(str(root))
    wanted = STAGES[: STAGES.index(until) + 1]
    _write_documents(folder, parts, bad_records)
    if "synth" in wanted:
        _write_chains(folder, parts, is_filter=False)
        _write_progress(folder)
    if "filter" in wanted:
        _write_chains(folder, parts, is_filter=True)
    if "pack" in wanted:
        _write_rows(folder)
    if "train" in wanted:
        _write_training(folder, losses)
    if "export" in wanted:
        open_stage(folder.hf, "export", {}, {}).close()
    if "eval" in wanted:
        _write_evaluation(folder, losses[-1])
    return folder


def _part_name(number: int) -> str:
    return f"{SOURCE}/part-{number:08d}"


def _write_documents(
    folder: RunFolder,
    parts: Sequence[Sequence[Written]],
    bad_records: Sequence[tuple[str, str]],
) -> None:
    stage = open_stage(folder.documents, "ingest", {"docs_per_part": 4}, {})
    for number, documents in enumerate(parts):
        part, bad = _part_name(number), bad_records if number == 0 else ()
        with write_shard(stage.folder, f"{part}.jsonl.zst") as shard:
            for document in documents:
                shard.write(Document(document.doc_id, SOURCE, document.text, {"route": "convert"}))
        with write_shard(stage.folder, f"dropped/{part}.jsonl.zst") as dropped:
            for line, (reason, excerpt) in enumerate(bad):
                dropped.write(
                    {"reason": reason, "file": "in.jsonl", "line": line, "excerpt": excerpt}
                )
        stage.commit(
            PartCommit(
                part=part,
                files=[shard.entry(), dropped.entry()],
                records_in=len(documents) + len(bad),
                records_out=len(documents),
                dropped=dict(Counter(reason for reason, _ in bad)),
                counts={"input_records": len(documents) + len(bad), "convert": len(documents)},
            )
        )
    stage.close()


def _write_chains(
    folder: RunFolder, parts: Sequence[Sequence[Written]], *, is_filter: bool
) -> None:
    path = folder.filtered if is_filter else folder.augmented
    stage = open_stage(path, "filter" if is_filter else "synth", {"model": "fake"}, {})
    for number, documents in enumerate(parts):
        written = ChainedPart()
        shots = []
        for document in documents:
            pairs = document.pairs
            if not is_filter:
                pairs += tuple(pair for pair, _ in document.filtered)
            shots.append(Shot(document.doc_id, document.text, pairs, {"style": document.style}))
            for pair, reason in document.filtered if is_filter else document.dropped:
                written.dropped.append(DroppedPair(document.doc_id, reason, pair, document.style))
        for start in range(0, len(shots), 2):
            written.chains += split_chains(SOURCE, shots[start : start + 2], PROVENANCE)
        _commit_chains(stage, _part_name(number), written, is_filter=is_filter)
    stage.close()


def _commit_chains(stage: StageFolder, part: str, written: ChainedPart, *, is_filter: bool) -> None:
    shots = [shot for chain in written.chains for shot in chain.shots]
    counts = Counter(f"pairs_dropped.{dropped.reason}" for dropped in written.dropped)
    counts["pairs"] = sum(len(shot.pairs) for shot in shots)
    counts["documents"] = len(shots)
    counts["documents_without_pair"] = sum(not shot.pairs for shot in shots)
    if not is_filter:
        counts["prompt_tokens"], counts["output_tokens"] = 900, 100
        counts["fragments_dropped.unclosed_pair"] = 1
    stage.commit(
        PartCommit(
            part=part,
            files=write_chains(stage.folder, part, written),
            records_in=len(shots),
            records_out=len(shots),
            counts=dict(counts),
        )
    )


def _write_progress(folder: RunFolder) -> None:
    """Two starts: 5 documents/s and 50 output tokens/s for 20 s, then half of that for 20 s."""
    log = [
        {"start": start, "elapsed_s": 30.0 + s, "done": first + int(s * rate)}
        | {"output_tokens": int(10 * rate * s)}
        for start, first, rate in ((1.0, 0, 5), (2.0, 100, 2.5))
        for s in range(0, 22, 2)
    ]
    Path(folder.synth_metrics).write_text("".join(json.dumps(line) + "\n" for line in log))


def _write_rows(folder: RunFolder) -> None:
    stage = open_stage(folder.rows, "pack", {"template_seed": 3, "seq_len": 64}, {})
    stage.commit(
        PartCommit(
            part=f"{SOURCE}-augmented/part-00000000",
            files=[],
            records_in=4,
            records_out=4,
            counts={"tokens": 999, "padding": 1, "examples": 4},
        )
    )
    stage.close()


def _write_training(folder: RunFolder, losses: Sequence[float]) -> None:
    stage = open_stage(folder.train, "train", {"num_steps": len(losses)}, {})
    lines = [
        {
            "step": step,
            "loss": loss,
            "lr": 1e-3 * min(1, step / 10),
            "grad_norm": 1 + 1 / step,
            "perf/tokens_per_s": 1000 + 50 * math.sin(step),
            "time/data_wait_share": 0.01,
            f"loss/{SOURCE}-augmented": loss - 0.5,
            f"loss/{SOURCE}-raw": loss + 0.5,
        }
        for step, loss in enumerate(losses, 1)
    ]
    Path(folder.metrics).write_text("".join(json.dumps(line) + "\n" for line in lines))
    counts = {"steps": len(losses), "rows": 8 * len(losses)}
    commit = PartCommit(part="part-00000000", files=[], records_in=0, records_out=0, counts=counts)
    stage.commit(commit)
    stage.close()


def _write_evaluation(folder: RunFolder, loss: float) -> None:
    stage = open_stage(folder.eval, "eval", {}, {})
    data = json.dumps(
        {
            "heldout": {
                f"{SOURCE}-augmented": {"loss": loss, "perplexity": math.exp(loss), "tokens": 300},
                f"{SOURCE}-raw": {"loss": loss + 1, "perplexity": 2.0, "tokens": 100},
            },
            "tasks": {
                "everyday": {
                    "metrics": {"acc": {"value": loss / 10, "stderr": 0.05}},
                    "num_examples": 100,
                    "num_fewshot": 2,
                }
            },
            "sample": {"prompt": "The people", "completion": " of the union <b>are</b>"},
        }
    ).encode()
    Path(folder.report).write_bytes(data)
    entry = FileEntry.of("report.json", 1, data)
    stage.commit(PartCommit(part="part-00000000", files=[entry], records_in=4, records_out=4))
    stage.close()
