"""General instructions as a source: every usual layout, and where its turns stand."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import Document, decode_document
from pipeline.errors import InputError
from pipeline.ingest.config import IngestConfig, SourceConfig
from pipeline.ingest.extraction import Extracted, extract
from pipeline.ingest.job import run_ingest
from pipeline.shards import read_lines
from pipeline.stage import Manifest, read_commits

ALPACA = {"instruction": "Name a colour.", "input": "", "output": "Red."}
ALPACA_INPUT = {"instruction": "Add the numbers.", "input": "2 and 3", "output": "5"}
ORCA = {"id": "o.1", "system_prompt": "Be kind.", "question": "Why?", "response": "So."}
SHAREGPT = {
    "id": "s1",
    "conversations": [
        {"from": "human", "value": "Hi\r\n"},
        {"from": "gpt", "value": " Hello!"},
        {"from": "human", "value": "How\nare you?"},
        {"from": "gpt", "value": "Well."},
    ],
}
OPENAI = {
    "messages": [
        {"role": "system", "content": "Answer in one word."},
        {"role": "user", "content": "What is 2+2?"},
        {"role": "assistant", "content": "Four."},
    ]
}


def source_of(**settings) -> SourceConfig:
    return SourceConfig(inputs=("x",), kind="instructions", **settings)


def ingest(tmp_path: Path, records: list[dict], **settings) -> Manifest:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    decontamination = settings.pop("decontamination", {})
    source = {"inputs": [str(path)], "kind": "instructions", **settings}
    config = IngestConfig(sources={"s": source}, docs_per_part=3, decontamination=decontamination)
    return run_ingest(config, str(tmp_path / "documents"))


def documents(tmp_path: Path) -> list[Document]:
    folder = tmp_path / "documents"
    return [
        decode_document(line)
        for part in read_commits(str(folder))
        for line in read_lines(f"{folder}/{part}.jsonl.zst")
    ]


def turns_in(text: str, meta: dict[str, str]) -> list[str]:
    """What a renderer reads back from `meta`."""
    if "instruction_chars" in meta:
        first = int(meta["instruction_chars"])
        return [text[:first], text[first + 1 :]]
    turns, start = [], 0
    for length in map(int, meta["turns"].split(" ")):
        turns.append(text[start : start + length])
        start += length + 1
    assert start == len(text) + 1
    return turns


@pytest.mark.parametrize(
    ("record", "settings", "text", "meta"),
    [
        (ALPACA, {}, "Name a colour. Red.", {"instruction_chars": "14"}),
        (ALPACA_INPUT, {}, "Add the numbers. 5", {"instruction_chars": "16"}),
        (
            ALPACA_INPUT,
            {"input_field": "input"},
            "Add the numbers.\n2 and 3 5",
            {"instruction_chars": "24"},
        ),
        (ALPACA, {"input_field": "input"}, "Name a colour. Red.", {"instruction_chars": "14"}),
        (ALPACA, {"input_field": "none"}, "Name a colour. Red.", {"instruction_chars": "14"}),
        (
            ORCA,
            {"question_field": "question", "response_field": "response"},
            "Why? So.",
            {"instruction_chars": "4"},
        ),
        (
            SHAREGPT,
            {"messages_field": "conversations"},
            "Hi Hello!\nHow\nare you? Well.",
            {"turns": "2 6 12 5"},
        ),
        (
            OPENAI,
            {"messages_field": "messages"},
            "Answer in one word.\nWhat is 2+2? Four.",
            {"instruction_chars": "32"},
        ),
        (
            {"instruction": "\ufeff Tell.\r\n\r\nNow. ", "output": "\n\nYes.\r\nNo.  "},
            {},
            "Tell.\n\nNow. Yes.\nNo.",
            {"instruction_chars": "11"},
        ),
    ],
)
def test_usual_layouts(record: dict, settings: dict, text: str, meta: dict) -> None:
    found = extract(record, source_of(**settings))
    assert isinstance(found, Extracted)
    assert (found.text, found.meta) == (text, meta)


words = st.text(alphabet=" ab\n\t\r\u00e9\u3042\ufeff", min_size=1, max_size=12)


@given(st.lists(st.tuples(words, words), min_size=1, max_size=4))
def test_every_turn_is_where_meta_says(exchanges: list[tuple[str, str]]) -> None:
    messages = []
    for question, response in exchanges:
        messages.append({"role": "user", "content": f"q{question}q"})
        messages.append({"role": "assistant", "content": f"a{response}a"})
    found = extract({"m": messages}, source_of(messages_field="m"))
    assert isinstance(found, Extracted)
    expected = [message["content"].replace("\r\n", "\n") for message in messages]
    assert turns_in(found.text, found.meta) == expected
    assert ("turns" in found.meta) == (len(exchanges) > 1)


def chat(*turns: tuple[str, object]) -> dict:
    return {"m": [{"role": role, "content": content} for role, content in turns]}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"output": "x"}, "missing_question"),
        ({"instruction": None, "output": "x"}, "null_question"),
        ({"instruction": 5, "output": "x"}, "non_string_question"),
        ({"instruction": " \n", "input": "y", "output": "x"}, "empty_question"),
        ({"instruction": "x"}, "missing_response"),
        ({"instruction": "x", "output": None}, "null_response"),
        ({"instruction": "x", "output": ["y"]}, "non_string_response"),
        ({"instruction": "x", "output": "\ufeff "}, "empty_response"),
        ({"instruction": "x", "input": 5, "output": "y"}, "non_string_input"),
        ({"instruction": "x", "output": "a\0b"}, "nul_byte"),
        ({}, "missing_question"),
    ],
)
def test_unusable_pairs(record: dict, reason: str) -> None:
    assert extract(record, source_of(input_field="input")) == reason


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({}, "missing_messages"),
        ({"m": None}, "missing_messages"),
        ({"m": "text"}, "malformed_messages"),
        ({"m": ["text"]}, "malformed_messages"),
        ({"m": []}, "missing_question"),
        (chat(("assistant", "a")), "missing_question"),
        (chat(("user", "q")), "missing_response"),
        (chat(("user", "q"), ("user", "q")), "missing_response"),
        (chat(("user", "q"), ("assistant", "a"), ("assistant", "a")), "missing_question"),
        (chat(("user", "q"), ("assistant", "a"), ("user", "q")), "missing_response"),
        (chat(("user", "q"), ("tool", "a")), "unknown_role"),
        (chat(("user", "q"), ("system", "a")), "misplaced_system"),
        (chat(("user", "q"), ("assistant", " ")), "empty_response"),
        (chat(("system", "s"), ("user", ""), ("assistant", "a")), "empty_question"),
        (chat(("user", [{"type": "text"}]), ("assistant", "a")), "non_string_question"),
        (chat(("user", "q"), ("assistant", None)), "missing_response"),
    ],
)
def test_unusable_conversations(record: dict, reason: str) -> None:
    assert extract(record, source_of(messages_field="m")) == reason


def test_instructions_become_raw_documents(tmp_path: Path) -> None:
    records = [
        ALPACA,
        ALPACA_INPUT,
        ALPACA,
        {"instruction": "No answer.", "output": ""},
        {"id": 7, "instruction": "Line\r\nend", "output": "kept."},
        {"id": 7, "instruction": "Same", "output": "id."},
    ]
    manifest = ingest(tmp_path, records)
    found = documents(tmp_path)
    assert [document.text for document in found] == [
        *("Name a colour. Red.", "Add the numbers. 5", "Line\nend kept.")
    ]
    assert manifest.dropped == {"duplicate_text": 1, "empty_response": 1, "duplicate_id": 1}
    assert manifest.counts["raw"] == 3
    assert manifest.counts.get("convert", 0) == 0
    assert manifest.counts["repaired_crlf"] == 1
    assert found[2].meta == {
        "route": "raw",
        "file": "in.jsonl",
        "line": "5",
        "instruction_chars": "8",
        "id": "7",
    }


def test_instructions_are_decontaminated(tmp_path: Path) -> None:
    question = "How many silver spoons did the auditor count behind the kitchen door?"
    (tmp_path / "quiz.jsonl").write_text(json.dumps({"q": question}) + "\n")
    records = [ALPACA, {"instruction": question, "output": "Forty-two."}]
    quiz = {"sets": {"quiz": {"path": str(tmp_path / "quiz.jsonl")}}}
    manifest = ingest(tmp_path, records, decontamination=quiz)
    assert [document.text for document in documents(tmp_path)] == ["Name a colour. Red."]
    assert manifest.dropped == {"contaminated": 1}


def test_a_published_array_of_instructions(tmp_path: Path) -> None:
    path = tmp_path / "alpaca_data.json"
    path.write_text(json.dumps([ALPACA, ALPACA_INPUT], indent=4))
    sources = {"s": {"inputs": [str(path)], "kind": "instructions", "input_field": "input"}}
    assert run_ingest(IngestConfig(sources=sources), str(tmp_path / "documents")).records_out == 2


def test_an_input_without_instructions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no usable document.*missing_question 1"):
        ingest(tmp_path, [{"text": "x"}])


def test_the_share_to_convert_follows_the_kind() -> None:
    assert SourceConfig(inputs=("x",)).convert_fraction == 1
    assert SourceConfig(inputs=("x",), convert_fraction=0.2).convert_fraction == 0.2
    assert source_of().convert_fraction == 0
    assert source_of(convert_fraction=0.0).convert_fraction == 0
    again = SourceConfig.model_validate(source_of(messages_field="m").model_dump())
    assert again == source_of(messages_field="m")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"convert_fraction": 0.5}, r"convert_fraction \(0\.5\).*must be 0 with kind = instruct"),
        ({"split_chars": 100}, r"split_chars \(100\) must be 0"),
        ({"text_field": "body"}, "text_field is for texts"),
        ({"text_template": "{a} {b}"}, "text_template is for texts"),
        ({"messages_field": "m", "question_field": "q"}, "either messages_field or question_field"),
        ({"kind": "text", "response_field": "r"}, "response_field is for instructions; add kind"),
        ({"kind": "instruct"}, "'text' or 'instructions'"),
    ],
)
def test_settings_that_do_not_fit_the_kind(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SourceConfig(**{"inputs": ("x",), "kind": "instructions", **settings})
