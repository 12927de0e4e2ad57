"""What survives of an unfinished part."""

import asyncio
from pathlib import Path

import pytest

from pipeline.contracts import Document, Pair, Shot, document_id
from synth import journal as journal_module
from synth.chains import ChainRunner, DroppedPair, QuarantinedDocument, WrittenGroup
from synth.engines.protocol import EngineLimits, RequestFailedError
from synth.journal import PartJournal
from synth.slots import ChainSlots
from synth.tally import Tally
from synth.tasks import Task
from synth.writing import Written

PAIR = Pair("q?", "a", "multiple_choice", ("a", "b"), "because")


def group(name: str) -> WrittenGroup:
    return WrittenGroup(
        shots=[Shot(name, f"text {name}", (PAIR,), {"style": "faq"})],
        dropped=[DroppedPair(name, "ungrounded", PAIR, "faq", "why")],
        quarantined=[QuarantinedDocument(name, "kills")],
        counts={"documents": 1, "pairs": 1},
        provenance={"dtype": "float32"},
    )


def test_a_later_attempt_finds_what_was_flushed(tmp_path: Path) -> None:
    first = PartJournal(str(tmp_path), "s/part-00000000")
    for name in ("a", "b"):
        asyncio.run(first.add(group(name)))
        first.flush()
    asyncio.run(first.add(group("c")))  # a kill comes before the next segment
    second = PartJournal(str(tmp_path), "s/part-00000000")
    assert len(second) == 2
    assert second.find(group("a").key) == group("a")
    assert second.find(group("c").key) is None
    assert len(PartJournal(str(tmp_path), "s/part-00000001")) == 0
    second.remove()
    assert len(PartJournal(str(tmp_path), "s/part-00000000")) == 0


def test_segments_are_written_now_and_then(tmp_path: Path, monkeypatch) -> None:
    now = 100.0
    monkeypatch.setattr(journal_module.time, "monotonic", lambda: now)
    journal = PartJournal(str(tmp_path), "s/part-00000000")
    for number in range(12):
        asyncio.run(journal.add(group(str(number))))
        now += 2
    assert len(list(tmp_path.rglob("*.jsonl.zst"))) == 2
    assert len(PartJournal(str(tmp_path), "s/part-00000000")) == 11


def test_a_damaged_segment_is_left_out(tmp_path: Path, capsys) -> None:
    journal = PartJournal(str(tmp_path), "s/part-00000000")
    for name in ("a", "b"):
        asyncio.run(journal.add(group(name)))
        journal.flush()
    segment = min(tmp_path.rglob("*.jsonl.zst"))
    segment.write_bytes(segment.read_bytes()[:20])
    assert len(PartJournal(str(tmp_path), "s/part-00000000")) == 1
    assert "left out" in capsys.readouterr().out


class Writer:
    """One pair about each text; refuses those that hold `poison`."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def write(self, history, document: Document, tally: Tally) -> Written:
        self.asked.append(document.text)
        if "poison" in document.text:
            raise RequestFailedError("kills the engine every time")
        tally.add("requests")
        return Written(Task(), (PAIR,))


@pytest.fixture
def documents() -> list[Document]:
    texts = ["one", "two", "poison", "four", "five"]
    return [Document(document_id("s", text), "s", text) for text in texts]


def run(documents: list[Document], writer: Writer, journal: PartJournal | None):
    tally = Tally()
    runner = ChainRunner(writer, 2, {"synthesizer": "x"}, ChainSlots(EngineLimits(4)))
    return asyncio.run(runner.run(documents, tally, journal=journal)), tally


def test_chains_out_of_the_journal_are_not_asked_for_again(
    tmp_path: Path, documents: list[Document]
) -> None:
    journal = PartJournal(str(tmp_path), "s/part-00000000")
    undisturbed, counted = run(documents, Writer(), journal)
    journal.flush()
    for segment in list(tmp_path.rglob("*.jsonl.zst"))[1:]:
        segment.unlink()
    writer = Writer()
    resumed, counted_again = run(documents, writer, PartJournal(str(tmp_path), "s/part-00000000"))
    assert writer.asked == []
    assert resumed == undisturbed
    assert counted_again == counted


def test_other_documents_are_asked_for(tmp_path: Path, documents: list[Document]) -> None:
    journal = PartJournal(str(tmp_path), "s/part-00000000")
    run(documents, Writer(), journal)
    journal.flush()
    writer = Writer()
    run(documents[1:], writer, PartJournal(str(tmp_path), "s/part-00000000"))
    assert writer.asked[:2] == ["two", "poison"]


def test_a_quarantined_text_stays_raw_with_its_error(documents: list[Document]) -> None:
    part, tally = run(documents, Writer(), None)
    assert [q.error for q in part.quarantined] == ["kills the engine every time"]
    shots = [shot for chain in part.chains for shot in chain.shots]
    assert [shot.text for shot in shots] == ["one", "two", "poison", "four", "five"]
    assert [bool(shot.pairs) for shot in shots] == [True, True, False, True, True]
    assert tally.counts["documents_quarantined"] == 1
    assert tally.counts["documents"] == 5
