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
