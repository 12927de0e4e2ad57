"""Evaluation sets in every format; those that would protect nothing are refused."""

import gzip
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from pipeline.errors import InputError
from tests.unit.pipeline.decontamination.quizzes import (
    QUESTION,
    index_of,
    load,
)


def test_every_format_gives_the_same_index(tmp_path: Path) -> None:
    records = [{"q": QUESTION}, {"q": "short"}, {"q": QUESTION[::-1]}]
    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    (tmp_path / "a.jsonl").write_bytes(lines)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(lines))
    (tmp_path / "lines.json").write_bytes(lines)
    (tmp_path / "array.json").write_text(json.dumps(records, indent=1))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records[:2]), tmp_path / "p-0.parquet")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records[2:]), tmp_path / "p-1.parquet")
    names = ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "lines.json", "array.json", "p-*.parquet"]
    indices = [load(tmp_path / name) for name in names]
    assert {index.fingerprint() for index in indices} == {indices[0].fingerprint()}
    assert indices[-1].find(QUESTION[::-1]).record == 3


NESTED = {
    "id": 7,
    "passage": QUESTION,
    "choices": {"text": ["an answer which is itself as long as eight words", "no"], "label": ["A"]},
    "turns": [{"role": "user", "content": "why does the ferry to the island leave so late"}],
}
CHOICE, TURN = NESTED["choices"]["text"][0], NESTED["turns"][0]["content"]


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ((), [True, True, True]),
        (("passage",), [True, False, False]),
        (("choices",), [False, True, False]),
        (("choices.text",), [False, True, False]),
        (("turns.content", "passage"), [True, False, True]),
    ],
)
def test_fields_however_deep(tmp_path: Path, fields: tuple, found: list[bool]) -> None:
    index = index_of(tmp_path, NESTED, {"other": 1}, fields=fields)
    assert [index.find(text) is not None for text in (QUESTION, CHOICE, TURN)] == found


@pytest.mark.parametrize(
    ("content", "fields", "message"),
    [
        (None, (), r"sets\.quiz: input .*quiz\.jsonl.*no such path"),
        ("", (), r"sets\.quiz: there is no text in it at all"),
        ('{"q": 5}\n', (), r"no text in it at all"),
        ('{"q": "too short"}\n', (), r"none of its 1 records has a text of min_words \(8\)"),
        ('{"question": "x"}\n', ("qestion",), r"no record has 'qestion'; did you mean 'question'"),
        ('{"c": {"text": "x"}}\n', ("c.txt",), r"no record has 'c.txt'; did you mean 'c.text'"),
        ('{"zz": "x"}\n', ("question",), r"no record has 'question'; known are zz"),
        ('{"q": "x"}\n{"q": \n', (), r"quiz\.jsonl line 2 is no record \(malformed_json\)"),
        ("[1]\n", (), r"line 1 is no record \(not_an_object\)"),
    ],
)
def test_a_set_that_protects_nothing_is_refused(
    tmp_path: Path, content: str | None, fields: tuple, message: str
) -> None:
    path = tmp_path / "quiz.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message):
        load(path, fields)


@pytest.mark.parametrize("name", ["quiz.pdf", "quiz.csv"])
def test_an_unknown_format_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(InputError, match="cannot read this format; readable are"):
        load(tmp_path / name)
