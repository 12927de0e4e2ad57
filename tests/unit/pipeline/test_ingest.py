"""Ingest: every format, every kind of bad input, resumption."""

import gzip
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import decode_document
from pipeline.errors import InputError, StaleStageError
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.job import run_ingest
from pipeline.ingest.splitting import split_text
from pipeline.shards import read_lines
from pipeline.stage import read_commits


def ingest(tmp_path: Path, *inputs: Path, **settings):
    source = {"inputs": [str(path) for path in inputs]} | settings.pop("source", {})
    config = IngestConfig(sources={"s": source}, **settings)
    return run_ingest(config, str(tmp_path / "documents"))


def documents(tmp_path: Path) -> list:
    folder = tmp_path / "documents"
    return [
        decode_document(line)
        for part in read_commits(str(folder))
        for line in read_lines(f"{folder}/{part}.jsonl.zst")
    ]


def dropped(tmp_path: Path) -> list[dict]:
    files = sorted((tmp_path / "documents" / "dropped").rglob("*.jsonl.zst"))
    return [json.loads(line) for file in files for line in read_lines(str(file))]


def write_jsonl(path: Path, *texts: str) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def test_every_format_gives_the_same_documents(tmp_path: Path) -> None:
    texts = ["one text", "another text"]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
    (tmp_path / "a.jsonl").write_bytes(lines)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(lines))
    pyarrow.parquet.write_table(pyarrow.table({"text": texts}), tmp_path / "a.parquet")
    found = []
    for number, name in enumerate(["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"]):
        run = tmp_path / str(number)
        ingest(run, tmp_path / name)
        found.append([(document.id, document.text) for document in documents(run)])
    assert [text for _, text in found[0]] == texts
    assert all(each == found[0] for each in found)


def test_text_files_folders_and_globs(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus" / "deep"
    corpus.mkdir(parents=True)
    (corpus / "one.txt").write_text("first")
    (corpus / "two.txt").write_text("second")
    (corpus / "ignored.pdf").write_text("no")
    assert ingest(tmp_path / "a", tmp_path / "corpus").records_out == 2
    assert ingest(tmp_path / "b", tmp_path / "corpus" / "*" / "*.txt").records_out == 2
    assert documents(tmp_path / "a")[0].meta["file"] == "one.txt"


def test_a_local_data_set(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "data.jsonl", "one", "two", "three")
    config = IngestConfig(
        sources={"s": {"dataset": {"path": "json", "data_files": [str(file)]}}}, docs_per_part=2
    )
    assert run_ingest(config, str(tmp_path / "documents")).records_out == 3


def test_a_data_set_whose_files_differ_in_type(tmp_path: Path) -> None:
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    files[0].write_text(json.dumps({"text": "one", "tags": "x"}) + "\n")
    files[1].write_text(json.dumps({"text": "two", "tags": ["y"]}) + "\n")
    dataset = {"path": "json", "data_files": list(map(str, files))}
    config = IngestConfig(sources={"s": {"dataset": dataset}})
    with pytest.raises(InputError, match=r"past record 1: .*give them as `inputs`"):
        run_ingest(config, str(tmp_path / "documents"))


BAD_LINES = {
    "malformed_json": b'{"text": "cut',
    "invalid_utf8": b'{"text": "\xff\xfe"}',
    "nul_byte": b'{"text": "a\\u0000b"}',
    "missing_text": b'{"body": "x"}',
    "empty_text": b'{"text": "  "}',
    "null_text": b'{"text": null}',
    "non_string_text": b'{"text": 7}',
    "not_an_object": b"[1]",
}


def test_each_bad_line_is_counted_with_file_and_line(tmp_path: Path) -> None:
    good = b'{"text": "fine"}'
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"\n".join([*BAD_LINES.values(), good]) + b"\n")
    manifest = ingest(tmp_path, path)
    assert manifest.dropped == dict.fromkeys(BAD_LINES, 1)
    assert manifest.records_in == manifest.records_out + len(BAD_LINES)
    assert [document.text for document in documents(tmp_path)] == ["fine"]
    assert [(entry["reason"], entry["file"], entry["line"]) for entry in dropped(tmp_path)] == [
        (reason, str(path), line) for line, reason in enumerate(BAD_LINES, start=1)
    ]


def test_an_overlong_line_is_dropped_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    with path.open("wb") as file:
        file.write(b'{"text": "' + b"x" * 50_000_000 + b'"}\n{"text": "fine"}\n')
    manifest = ingest(tmp_path, path)
    assert manifest.dropped == {"too_long": 1}
    assert [document.text for document in documents(tmp_path)] == ["fine"]
    assert dropped(tmp_path)[0]["line"] == 1


def test_bom_and_crlf_are_repaired_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "a\\r\\nb"}\r\n{"text": "c"}\r\n')
    manifest = ingest(tmp_path, path)
    assert [document.text for document in documents(tmp_path)] == ["a\nb", "c"]
    assert manifest.counts["repaired_bom"] == manifest.counts["repaired_crlf"] == 1


def test_duplicates_by_text_and_by_own_id(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    rows = [{"id": 1, "text": "a"}, {"id": 1, "text": "b"}, {"id": 2, "text": "a"}, {"text": "c"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = ingest(tmp_path, path)
    assert manifest.dropped == {"duplicate_id": 1, "duplicate_text": 1}
    assert [document.text for document in documents(tmp_path)] == ["a", "c"]


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_truncated_input_is_refused_and_nothing_stays(tmp_path: Path, suffix: str) -> None:
    import random

    random.seed(0)
    texts = ["".join(random.choices("abcdefgh ", k=300)) for _ in range(500)]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
    whole = gzip.compress(lines) if suffix == "gz" else zstandard.compress(lines)
    path = tmp_path / f"in.jsonl.{suffix}"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=rf"in\.jsonl\.{suffix}.*at byte \d+.*truncated"):
        ingest(tmp_path, path, docs_per_part=10)
    assert not (tmp_path / "documents").exists()
    path.write_bytes(whole)
    assert ingest(tmp_path, path, docs_per_part=10).records_out == 500


@pytest.mark.parametrize("suffix", ["gz", "zst", "parquet"])
def test_corrupt_input_is_refused(tmp_path: Path, suffix: str) -> None:
    name = "in.parquet" if suffix == "parquet" else f"in.jsonl.{suffix}"
    (tmp_path / name).write_bytes(b"this is not compressed data at all, nor Parquet")
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        ingest(tmp_path, tmp_path / name)
    assert not (tmp_path / "documents").exists()


def test_an_unknown_kind_of_uri_is_refused() -> None:
    config = IngestConfig(sources={"s": {"inputs": ["nosuch://bucket/x.jsonl"]}})
    with pytest.raises(InputError, match="cannot be opened"):
        run_ingest(config, "memory://never")


@pytest.mark.parametrize("name", ["absent.jsonl", "absent/*.jsonl", "notes.pdf", "empty_folder"])
def test_unusable_paths_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.pdf").write_text("x")
    (tmp_path / "empty_folder").mkdir()
    with pytest.raises(InputError, match="readable are"):
        ingest(tmp_path, tmp_path / name)
    assert not (tmp_path / "documents").exists()


def test_an_input_without_documents_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"body": "x"}\n')
    with pytest.raises(InputError, match=r"no usable document.*missing_text 1"):
        ingest(tmp_path, tmp_path / "in.jsonl")
    assert not (tmp_path / "documents").exists()


@pytest.mark.parametrize("is_checked", [False, True])
def test_resumes_at_any_committed_part(tmp_path: Path, is_checked: bool) -> None:
    """Cut the folder back to every prefix of its parts; the rest comes out byte for byte."""
    names = [2 * letter for letter in "abcdefghijklmnopqrstuvw"]
    rows = [{"id": number % 17, "text": f"text {names[number % 23]} " * 3} for number in range(40)]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"docs_per_part": 3}
    if is_checked:
        settings |= with_quiz(tmp_path, "text ff", "text hh")
        settings["decontamination"] |= {"min_words": 2}
    whole = ingest(tmp_path, path, source={"split_chars": 12}, **settings)
    assert whole.dropped.keys() >= {"duplicate_id", "duplicate_text"}
    assert whole.dropped.get("contaminated", 0) == (6 if is_checked else 0)
    expected = [(entry.name, entry.sha256) for entry in whole.parts]
    parts = list(read_commits(str(tmp_path / "documents")))
    assert len(parts) > 5
    for keep in range(len(parts)):
        folder = tmp_path / "documents"
        (folder / "manifest.json").unlink()
        for part in parts[keep:]:
            (folder / f"{part}.json").unlink()
        again = ingest(tmp_path, path, source={"split_chars": 12}, **settings)
        assert [(entry.name, entry.sha256) for entry in again.parts] == expected
        assert (again.dropped, again.counts) == (whole.dropped, whole.counts)


def test_another_setting_is_refused_by_name(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "in.jsonl", "a")
    ingest(tmp_path, path)
    with pytest.raises(StaleStageError, match=r"config\.docs_per_part: the folder has 4096"):
        ingest(tmp_path, path, docs_per_part=7)
    write_jsonl(path, "a", "b")
    with pytest.raises(StaleStageError, match=r"inputs\.s/00000"):
        ingest(tmp_path, path)


def test_convert_fraction_is_stable_and_grows(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "in.jsonl", *(f"text {number}" for number in range(2000)))
    chosen = []
    for fraction in (0.1, 0.3):
        run = tmp_path / str(fraction)
        manifest = ingest(run, path, source={"convert_fraction": fraction})
        chosen.append({document.id for document in documents(run) if document.is_converted})
        assert manifest.counts["convert"] == len(chosen[-1])
        assert abs(len(chosen[-1]) / 2000 - fraction) < 0.04
    assert chosen[0] < chosen[1]


def test_template_joins_fields(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(
        '{"question": "Why?", "response": "So."}\n{"question": "x"}\n'
        '{"question": "x", "response": null}\n{"question": "x", "response": [1]}\n'
    )
    manifest = ingest(
        tmp_path, tmp_path / "in.jsonl", source={"text_template": "{question} {response}"}
    )
    assert documents(tmp_path)[0].text == "Why? So."
    assert manifest.dropped == {"missing_text": 1, "null_text": 1, "non_string_text": 1}


@pytest.mark.parametrize(
    "template", ["{0}", "{}", "{a.b}", "{a[0]}", "{a:d}", "{a!r}", "{a", "no field"]
)
def test_only_plain_fields_in_templates(template: str) -> None:
    with pytest.raises(ValueError, match=r"field names|name fields|expected|single"):
        IngestConfig(sources={"s": {"inputs": ["x"], "text_template": template}})


def test_half_a_surrogate_pair_in_an_array_is_dropped_like_one_in_a_line(tmp_path: Path) -> None:
    half = "\\ud800"
    rows = [f'{{"text": "a {half} b"}}', '{"text": "whole"}', f'{{"id": "{half}", "text": "c"}}']
    (tmp_path / "in.json").write_text(f'[{", ".join(rows)}, ["{half}"]]')
    manifest = ingest(tmp_path / "array", tmp_path / "in.json")
    assert manifest.dropped == {"malformed_json": 2, "not_an_object": 1}
    assert [document.text for document in documents(tmp_path / "array")] == ["whole"]
    (tmp_path / "in.jsonl").write_text("\n".join(rows) + "\n")
    assert ingest(tmp_path / "lines", tmp_path / "in.jsonl").dropped == {"malformed_json": 2}


def test_ids_that_are_no_ids_or_very_long(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(
        '{"id": "", "text": "a"}\n{"id": "", "text": "b"}\n'
        '{"id": 20240101000000000001, "text": "c"}\n{"id": 20240101000000000002, "text": "d"}\n'
        '{"text": "\\ufeff"}\n'
    )
    manifest = ingest(tmp_path, path)
    assert [document.text for document in documents(tmp_path)] == ["a", "b", "c", "d"]
    assert manifest.dropped == {"empty_text": 1}


def test_a_file_named_twice_is_read_once(tmp_path: Path, monkeypatch) -> None:
    write_jsonl(tmp_path / "in.jsonl", "a")
    monkeypatch.chdir(tmp_path)
    manifest = ingest(tmp_path, Path("in.jsonl"), tmp_path / "*.jsonl")
    assert manifest.records_in == 1


def test_an_array_of_records_is_read_like_lines(tmp_path: Path) -> None:
    rows = [{"text": f"text {number} " + "x" * 50_000, "n": number} for number in range(60)]
    (tmp_path / "in.json").write_text(json.dumps([*rows, 7], indent=2))
    manifest = ingest(tmp_path, tmp_path / "in.json", docs_per_part=7)
    assert [document.text for document in documents(tmp_path)] == [row["text"] for row in rows]
    assert manifest.dropped == {"not_an_object": 1}
    assert dropped(tmp_path)[0]["line"] == 61


@pytest.mark.parametrize("end", ["", ",", ', {"text": "b', ', {"text" "b"}]', ", 12"])
def test_a_cut_array_is_refused_and_nothing_stays(tmp_path: Path, end: str) -> None:
    (tmp_path / "in.json").write_text('[{"text": "a"}' + end)
    with pytest.raises(InputError, match=r"in\.json: no whole JSON record .* after record 1"):
        ingest(tmp_path, tmp_path / "in.json", docs_per_part=1)
    assert not (tmp_path / "documents").exists()


def test_an_array_item_beyond_the_limit(tmp_path: Path) -> None:
    """Dropped like a line while its end can be found, else refused."""
    (tmp_path / "in.json").write_text(json.dumps([{"text": "x" * 3_000}, {"text": "a"}]))
    manifest = ingest(tmp_path / "drop", tmp_path / "in.json", max_record_bytes=2000)
    assert manifest.dropped == {"too_long": 1}
    (tmp_path / "in.json").write_text(json.dumps([{"text": "x" * 3_000_000}]))
    with pytest.raises(InputError, match="at most 2000 characters after record 0"):
        ingest(tmp_path, tmp_path / "in.json", max_record_bytes=2000)


def test_json_files_are_read_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "info.json").write_text('[{"text": "about the corpus"}]')
    write_jsonl(tmp_path / "corpus" / "in.jsonl", "a")
    assert ingest(tmp_path / "folder", tmp_path / "corpus").records_in == 1
    assert ingest(tmp_path / "glob", tmp_path / "corpus" / "*").records_in == 1
    assert ingest(tmp_path / "named", tmp_path / "corpus" / "*.json").records_in == 1
    assert documents(tmp_path / "named")[0].text == "about the corpus"


SECRET = "the quick auditor counted forty two silver spoons behind the locked kitchen door at dawn"


def with_quiz(tmp_path: Path, *questions: str) -> dict:
    path = tmp_path / "quiz.jsonl"
    path.write_text("".join(json.dumps({"question": text}) + "\n" for text in questions))
    return {"decontamination": {"sets": {"quiz": {"path": str(path)}}}}


def test_contaminated_documents_are_dropped_listed_and_counted(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "in.jsonl", "a", f"Before. {SECRET.title()}! After.", "b")
    manifest = ingest(tmp_path, path, **with_quiz(tmp_path, "no such text in any document", SECRET))
    assert [document.text for document in documents(tmp_path)] == ["a", "b"]
    assert manifest.dropped == {"contaminated": 1}
    assert manifest.counts["contaminated.quiz"] == 1
    assert manifest.records_in == manifest.records_out + 1 == 3
    assert dropped(tmp_path) == [
        {
            "reason": "contaminated",
            "file": str(path),
            "line": 2,
            "excerpt": f"Before. {SECRET.title()}! After.",
            "set": "quiz",
            "record_number": 2,
            "ngram": " ".join(SECRET.split()[:13]),
        }
    ]


def test_only_the_contaminated_passage_of_a_long_text_is_dropped(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "in.jsonl", f"{'first ' * 20}\n\n{SECRET}\n\n{'last ' * 20}")
    settings = with_quiz(tmp_path, SECRET)
    manifest = ingest(tmp_path, path, source={"split_chars": 125}, **settings)
    assert [document.text.split()[0] for document in documents(tmp_path)] == ["first", "last"]
    assert manifest.dropped == {"contaminated": 1}


def test_a_changed_evaluation_set_is_noticed(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "in.jsonl", "a")
    settings = with_quiz(tmp_path, SECRET)
    ingest(tmp_path, path, **settings)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert ingest(tmp_path, path, **with_quiz(elsewhere, SECRET)).records_out == 1
    with_quiz(tmp_path, SECRET, SECRET[::-1])
    with pytest.raises(StaleStageError, match=r"inputs\.decontamination"):
        ingest(tmp_path, path, **settings)
    with pytest.raises(StaleStageError, match=r"config\.decontamination"):
        ingest(tmp_path, path)


def test_a_missing_evaluation_set_leaves_nothing(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "in.jsonl", "a")
    settings = {"decontamination": {"sets": {"quiz": {"path": str(tmp_path / "none.jsonl")}}}}
    with pytest.raises(InputError, match=r"decontamination\.sets\.quiz.*no such path"):
        ingest(tmp_path, path, **settings)
    assert not (tmp_path / "documents").exists()


@given(st.text(alphabet="ab. \n", max_size=300), st.integers(1, 40))
def test_splitting_loses_nothing_but_white_space(text: str, max_chars: int) -> None:
    passages = split_text(text, max_chars)
    assert "".join("".join(passages).split()) == "".join(text.split())
    assert all(len(passage) <= max_chars for passage in passages)
