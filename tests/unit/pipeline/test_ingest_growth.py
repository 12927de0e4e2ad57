"""Corpora that grow: what was read keeps its parts, what was added comes behind."""

import gzip
import json
from pathlib import Path

import pytest

from pipeline.errors import DamagedInputError, StaleStageError
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.job import run_ingest
from pipeline.stage import Manifest, read_commits


class Corpus:
    """Files below a folder and their ingest, in parts of two documents."""

    def __init__(self, folder: Path) -> None:
        self.files, self.run = folder / "files", folder / "documents"
        self.files.mkdir()

    def add(self, name: str, *texts: str) -> None:
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        (self.files / name).write_text(lines)

    def ingest(self, *sources: str, allow_append: bool = True, **settings) -> Manifest:
        """Sources named after the first letter of their files; `s` if none is given."""
        found = {name: {"inputs": [f"{self.files}/{name}*"]} for name in sources or ("s",)}
        config = IngestConfig(sources=found, **{"docs_per_part": 2} | settings)
        return run_ingest(config, str(self.run), allow_append)

    def shards(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.run)): path.read_bytes()
            for path in self.run.glob("*/*.jsonl.zst")
        }


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    corpus = Corpus(tmp_path)
    corpus.add("s1.jsonl", "one", "two", "three")
    corpus.ingest()
    return corpus


def test_new_files_and_sources_come_behind(corpus: Corpus) -> None:
    before = corpus.shards()
    corpus.add("s2.jsonl", "two", "four")
    corpus.add("a.jsonl", "one")
    with pytest.raises(StaleStageError, match="--allow-append keeps what is written and goes on"):
        corpus.ingest("s", "a", allow_append=False)
    manifest = corpus.ingest("s", "a")
    assert corpus.shards().items() > before.items()
    assert manifest.records_out == 5
    assert manifest.dropped == {"duplicate_text": 1}
    assert list(read_commits(str(corpus.run))) == [
        "a/part-00000000",
        *(f"s/part-0000000{number}" for number in range(3)),
    ]
    assert corpus.ingest("s", "a", allow_append=False) == manifest


@pytest.mark.parametrize(
    ("name", "texts"), [("s0.jsonl", ["zero"]), ("s1.jsonl", ["one", "two", "three", "four"])]
)
def test_what_was_read_must_be_as_it_was(corpus: Corpus, name: str, texts: list[str]) -> None:
    before = corpus.shards()
    corpus.add(name, *texts)
    with pytest.raises(StaleStageError, match="new files whose paths sort after"):
        corpus.ingest()
    assert corpus.shards() == before


def test_a_source_that_is_gone_or_set_otherwise_is_no_growth(corpus: Corpus) -> None:
    corpus.add("s2.jsonl", "four")
    with pytest.raises(StaleStageError, match=r"config\.docs_per_part"):
        corpus.ingest(docs_per_part=3)
    corpus.add("a.jsonl", "one")
    with pytest.raises(StaleStageError, match="new sources may be added"):
        corpus.ingest("a")


def test_a_damaged_file_among_those_added_costs_nothing_that_was_there(corpus: Corpus) -> None:
    before = corpus.shards()
    for name in ("s2.jsonl", "s3.jsonl.gz", "a.jsonl"):
        corpus.add(name, "four", "five", "six")
    whole = gzip.compress((corpus.files / "s3.jsonl.gz").read_bytes())
    (corpus.files / "s3.jsonl.gz").write_bytes(whole[:-9])
    for _ in range(2):  # as after a kill, the second one finds the work of the first
        with pytest.raises(DamagedInputError, match=r"s3\.jsonl\.gz"):
            corpus.ingest("a", "s")
        assert corpus.shards() == before
    (corpus.files / "s3.jsonl.gz").write_bytes(whole)
    manifest = corpus.ingest("a", "s")
    assert manifest.records_out == 9
    assert corpus.shards().items() > before.items()


def cut_short(corpus: Corpus, name: str, *texts: str) -> bytes:
    """Add a file whose end is missing; returns the whole of it."""
    corpus.add(name, *texts)
    whole = gzip.compress((corpus.files / name).read_bytes())
    (corpus.files / name).write_bytes(whole[:-9])
    return whole


def interrupt(corpus: Corpus) -> None:
    """Leave what a kill after the first committed part of the growth would leave."""
    (corpus.run / "manifest.json").unlink()
    for path in corpus.run.rglob("part-00000003*"):
        path.unlink()


def test_an_interrupted_growth_may_be_changed(corpus: Corpus) -> None:
    before = corpus.shards()
    manifest = (corpus.run / "manifest.json").read_bytes()
    corpus.add("s2.jsonl", "four", "five", "six", "seven")
    corpus.ingest()
    (corpus.run / "manifest.before.json").write_bytes(manifest)
    interrupt(corpus)
    assert len(corpus.shards()) == 3
    corpus.add("s2.jsonl", "eight")
    assert corpus.ingest().records_out == 4
    assert corpus.shards().items() > before.items()
    assert len(corpus.shards()) == 3


def test_damage_in_a_file_that_was_there_starts_afresh(tmp_path: Path) -> None:
    """The first ingest is killed, files are added, and one of the first ones turns out damaged."""
    corpus = Corpus(tmp_path)
    corpus.add("s1.jsonl", "one", "two", "three", "four")
    whole = cut_short(corpus, "s2.jsonl.gz", "five", "six")
    with pytest.raises(DamagedInputError):
        corpus.ingest()
    assert not corpus.run.exists()
    (corpus.files / "s2.jsonl.gz").write_bytes(whole)
    corpus.ingest()
    (corpus.run / "manifest.json").unlink()
    for path in corpus.run.rglob("part-00000002*"):
        path.unlink()
    corpus.add("s3.jsonl", "seven")
    damaged = bytearray(whole)
    damaged[-5] ^= 1  # the checksum: found out only when all of it was read
    (corpus.files / "s2.jsonl.gz").write_bytes(damaged)
    with pytest.raises(DamagedInputError):
        corpus.ingest()
    assert not corpus.run.exists()


def test_a_file_that_may_have_taken_the_place_of_another_is_refused(corpus: Corpus) -> None:
    for folder in ("m", "a"):
        (corpus.files / folder / "x").mkdir(parents=True)
    corpus.add("m/x/part.jsonl", "seven")
    config = {"inputs": [f"{corpus.files}/m*/*/*"]}
    one = IngestConfig.model_validate({"sources": {"s": config}})
    run_ingest(one, str(corpus.run.with_name("other")))
    corpus.add("a/x/part.jsonl", "eight")
    config["inputs"].append(f"{corpus.files}/a*/*/*")
    two = IngestConfig.model_validate({"sources": {"s": config}})
    with pytest.raises(StaleStageError, match="new files whose paths sort after"):
        run_ingest(two, str(corpus.run.with_name("other")), True)
    moved = IngestConfig.model_validate({"sources": {"s": {"inputs": [f"{corpus.files}/a*/*/*"]}}})
    with pytest.raises(StaleStageError, match="by what `inputs` named before"):
        run_ingest(moved, str(corpus.run.with_name("other")), True)


def test_ingest_grows_before_it_is_complete(corpus: Corpus) -> None:
    whole = corpus.shards()
    (corpus.run / "manifest.json").unlink()
    for path in corpus.run.glob("s/part-00000001*"):
        path.unlink()
    corpus.add("s2.jsonl", "four")
    assert corpus.ingest().records_out == 4
    first = "s/part-00000000.jsonl.zst"
    assert corpus.shards()[first] == whole[first]
    assert len(corpus.shards()) == 2
