"""`ipt render`: one schema for `datasets`, in both formats and whatever comes first."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest

from launch.rendering import render_run, rendered_folder
from pipeline.contracts import Chain, Document, Pair, Shot, document_id
from pipeline.errors import InputError, StaleStageError
from pipeline.opening import open_stage
from pipeline.run_folder import RunFolder
from pipeline.shards import write_shard
from pipeline.stage import PartCommit, read_manifest
from synth.templates import ChainRenderer, render_chain, render_document
from tests.tuning_run import write_task_data, write_tasks

# `datasets` infers the types of JSON Lines from the first 10 MiB.
FIRST_BYTES = 10 << 20
QUESTION_KINDS = ("plain", "choice", "reasoned", "reasoned_choice")
PAIRS = (
    Pair("What is blue?", "the sky"),
    Pair("Which is wet?", "water", "multiple_choice", ("sand", "water")),
)
CHAINS = [
    Chain(f"chain{number}", "s", (Shot(f"a{number}", "Sky.", PAIRS), Shot("b", "Sea.", ())), {})
    for number in range(40)
]
INSTRUCTION = Document("i", "s", "Add 2 + 2. 4", {"route": "raw", "instruction_chars": "10"})


def write_stage(
    folder: str,
    name: str,
    parts: Sequence[tuple[str, Sequence[Any]]],
    inputs: dict[str, str] | None = None,
) -> None:
    stage = open_stage(folder, name, {}, inputs or {})
    for part, records in parts:
        with write_shard(folder, f"{part}.jsonl.zst") as shard:
            for record in records:
                shard.write(record)
        num = len(records)
        stage.commit(
            PartCommit(part=part, files=[shard.entry()], records_in=num, records_out=num, counts={})
        )
    stage.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run whose first part is raw texts alone, more than a reader looks at before it decides."""
    found = RunFolder(str(tmp_path_factory.mktemp("run")))
    text = "No instruction here. " * 100
    raw = [Document(f"r{number}", "s", f"{number} {text}") for number in range(5_500)]
    parts = ("s/part-00000000", "s/part-00000001")
    convert = Document("c", "s", "Sky.", {"route": "convert"})
    write_stage(found.documents, "ingest", [(parts[0], raw), (parts[1], [convert, INSTRUCTION])])
    key = {"documents": read_manifest(found.documents).input_key()}
    write_stage(rendered_folder(found), "filter", [(parts[0], []), (parts[1], CHAINS)], key)
    return found


@pytest.fixture(scope="module")
def targets(folder: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for suffix in ("jsonl", "parquet"):
        found[suffix] = tmp_path_factory.mktemp("out") / f"texts.{suffix}"
        assert render_run(folder, str(found[suffix]), 3, with_raw=True) == 5_541
    return found


def load(path: Path, cache: Path) -> datasets.Dataset:
    builder = "json" if path.suffix == ".jsonl" else "parquet"
    return datasets.load_dataset(builder, data_files=str(path), split="train", cache_dir=str(cache))


def test_both_formats_load_to_one_schema_and_the_same_records(
    targets: dict[str, Path], tmp_path: Path
) -> None:
    lines, table = (load(path, tmp_path / "cache") for path in targets.values())
    string = datasets.Value("string")
    span = {"start": datasets.Value("int64"), "end": datasets.Value("int64"), "role": string}
    assert lines.features == datasets.Features(
        {
            "id": string,
            "source": string,
            "text": string,
            "document_ids": datasets.List(string),
            "spans": datasets.List(span),
        }
    )
    assert table.features == lines.features
    assert table.num_rows == lines.num_rows == 5_541
    for number in (0, 4_000, 5_500, 5_520, 5_540):
        assert table[number] == lines[number]


def test_the_first_instruction_comes_after_the_types_are_decided(
    targets: dict[str, Path], tmp_path: Path
) -> None:
    """The reason why a raw text has a span: with empty lists, `datasets` fails."""
    content = targets["jsonl"].read_bytes()
    assert content.index(b'"instruction"') > FIRST_BYTES
    emptied = tmp_path / "emptied.jsonl"
    with emptied.open("w") as file:
        for line in content.splitlines():
            record = json.loads(line)
            record["spans"] = [span for span in record["spans"] if span["role"] != "text"]
            file.write(json.dumps(record) + "\n")
    with pytest.raises(datasets.exceptions.DatasetGenerationError):
        load(emptied, tmp_path / "cache")


def test_spans_cover_each_text_and_name_its_pairs(targets: dict[str, Path]) -> None:
    records = [json.loads(line) for line in targets["jsonl"].read_bytes().splitlines()]
    by_id = {record["id"]: record for record in records}
    assert by_id["r7"]["spans"] == [{"start": 0, "end": len(by_id["r7"]["text"]), "role": "text"}]
    for chain in CHAINS:
        record, rendered = by_id[chain.id], render_chain(chain, 3)
        assert record["text"] == rendered.text
        assert record["document_ids"] == [shot.doc_id for shot in chain.shots]
        assert [span for span in record["spans"] if span["role"] != "text"] == [
            {"start": span.start, "end": span.end, "role": span.role} for span in rendered.spans
        ]
        ends = [span["end"] for span in record["spans"]]
        assert [span["start"] for span in record["spans"]] == [0, *ends[:-1]]
        assert ends[-1] == len(record["text"])
    instruction = by_id["i"]
    assert instruction["text"] == render_document(INSTRUCTION).text
    assert [(span["start"], span["end"], span["role"]) for span in instruction["spans"]] == [
        (0, 10, "instruction"),
        (10, 11, "text"),
        (11, 12, "response"),
    ]


def test_raw_texts_come_only_when_asked_for(folder: RunFolder, tmp_path: Path) -> None:
    target = tmp_path / "texts.jsonl"
    assert render_run(folder, str(target), 3, with_raw=False) == len(CHAINS)
    ids = [json.loads(line)["id"] for line in target.read_text().splitlines()]
    assert ids == [chain.id for chain in CHAINS]


def test_the_seed_changes_the_layouts(folder: RunFolder, tmp_path: Path) -> None:
    texts = []
    for seed in (0, 1):
        target = tmp_path / f"{seed}.jsonl"
        render_run(folder, str(target), seed, with_raw=False)
        texts.append(target.read_bytes())
    assert texts[0] != texts[1]


def test_a_run_is_shown_as_it_was_packed(folder: RunFolder, tmp_path: Path) -> None:
    own = tmp_path / "pools"
    own.mkdir()
    (own / "questions.toml").write_text(
        "\n".join(f'{kind} = ["Ask: {{q}}\\nSay: {{a}}"]' for kind in QUESTION_KINDS)
    )
    packed = RunFolder(str(tmp_path / "run"))
    for name in ("documents", "filtered"):
        shutil.copytree(getattr(folder, name), getattr(packed, name))
    config = {"template_seed": 3, "template_folder": str(own)}
    open_stage(packed.rows, "pack", config, {}).close()
    texts = []
    for seed in (None, 3, 4):
        target = tmp_path / f"{seed}.jsonl"
        render_run(packed, str(target), seed, with_raw=False)
        texts.append(target.read_text())
    assert texts[0] == texts[1] != texts[2]
    assert "Ask: What is blue?\\nSay: the sky" in texts[0]
    assert ChainRenderer(str(own)).fingerprint() != ChainRenderer().fingerprint()


def test_chains_of_other_documents_are_refused(folder: RunFolder, tmp_path: Path) -> None:
    other = RunFolder(str(tmp_path / "run"))
    shutil.copytree(folder.filtered, other.filtered)
    write_stage(other.documents, "ingest", [])
    with pytest.raises(StaleStageError, match="documents/ was made anew"):
        render_run(other, str(tmp_path / "texts.jsonl"), 0, with_raw=True)


def test_bad_input_is_refused(folder: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must end in \.jsonl or \.parquet"):
        render_run(folder, str(tmp_path / "texts.csv"), 0, with_raw=False)
    with pytest.raises(InputError):
        render_run(RunFolder(str(tmp_path)), str(tmp_path / "t.jsonl"), 0, with_raw=False)
    assert not list(tmp_path.iterdir())


def test_of_a_tuning_run_its_task_data_are_written(tmp_path: Path) -> None:
    run = RunFolder(str(tmp_path / "run"))
    contexts = {"race": ["Tides follow the moon.", "Iron rusts."], "squad": ["Owls hunt."]}
    write_tasks(run, write_task_data(tmp_path / "ft.jsonl", contexts))
    assert rendered_folder(run) == run.tasks
    targets = [tmp_path / "texts.jsonl", tmp_path / "all.jsonl"]
    for target, with_raw in zip(targets, (False, True), strict=True):
        assert render_run(run, str(target), None, with_raw=with_raw) == 3
    assert targets[0].read_bytes() == targets[1].read_bytes()
    records = [json.loads(line) for line in targets[0].read_bytes().splitlines()]
    found = {(record["source"], *record["document_ids"]) for record in records}
    assert found == {
        (name, document_id(name, text)) for name, texts in contexts.items() for text in texts
    }
    texts = {record["document_ids"][0]: record["text"] for record in records}
    owls = texts[document_id("squad", "Owls hunt.")]
    assert "Owls hunt." in owls
    assert "Who?" in owls
    for record in records:
        said = [
            record["text"][span["start"] : span["end"]]
            for span in record["spans"]
            if span["role"] == "response"
        ]
        assert "They" in "".join(said)
        assert record["spans"][0]["start"] == 0
        assert record["spans"][-1]["end"] == len(record["text"])
