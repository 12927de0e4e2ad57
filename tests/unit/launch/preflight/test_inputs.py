"""Corpora, task data and evaluation sets: there, absent, or not what they are said to be."""

import json
from pathlib import Path

import pytest

from launch.preflight.findings import Finding, run_checks
from launch.preflight.inputs import input_checks
from tests.preflighted import subject_of

SOURCE = "ingest.sources.sotu"


def look(*overrides: str, reference: str = "quickstart", hub: str = "") -> list[Finding]:
    subject = subject_of(reference, "run.dir=/nowhere/run", *overrides)
    return list(run_checks(list(input_checks(subject, hub))))


def test_the_quickstart_s_corpus_is_there() -> None:
    [found] = look()
    assert found.state == "ok"
    assert found.found.startswith("249 files, ")


def test_a_glob_that_matches_nothing_names_the_source(tmp_path: Path) -> None:
    [found] = look(f'{SOURCE}.inputs=["{tmp_path}/*.jsonl"]')
    assert found.state == "problem"
    assert "nothing readable matches" in found.found
    assert "ingest.sources.sotu.inputs" in found.remedy


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([{"body": "a text"}] * 30, "missing_text (its fields: body)"),
        ([{"text": ""}], "empty_text"),
        ([], "it is empty"),
    ],
)
def test_records_without_a_text_are_told_by_their_fields(lines, words, tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    [found] = look(f'{SOURCE}.inputs=["{path}"]')
    assert found.state == "problem"
    assert words in found.found
    assert "text_field" in found.remedy


def test_some_bad_records_before_a_good_one_are_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text('{broken\n\n{"text": "a text"}\n')
    [found] = look(f'{SOURCE}.inputs=["{path}"]')
    assert (found.state, "6 characters" in found.found) == ("ok", True)


def test_a_damaged_file_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd damaged")
    [found] = look(f'{SOURCE}.inputs=["{path}"]')
    assert found.state == "problem"
    assert str(path) in found.found


def test_a_data_set_needs_the_hub_unless_it_is_here(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a text"}\n')
    preset = "scratch-500m"
    [away] = look(reference=preset, hub="hub.example does not answer")
    assert away.state == "problem"
    assert "tiiuae/falcon-refinedweb is streamed from the hub, but hub.example" in away.found
    local = (
        'ingest.sources.refinedweb={dataset = {path = "json", '
        f'data_files = ["{tmp_path}/a.jsonl"]}}, convert_fraction = 0.2}}'
    )
    [here] = look(local, reference=preset, hub="hub.example does not answer")
    assert here.state == "ok", here


def test_task_data_and_evaluation_sets_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "eval.jsonl").write_text('{"question": "who?"}\n')
    settings = [
        f'tasks.decontamination.sets.mine.path="{tmp_path}/eval.jsonl"',
        f'tasks.decontamination.sets.other.path="{tmp_path}/none.jsonl"',
    ]
    found = look(*settings, reference="smollm2-135m")
    assert [(each.check, each.state) for each in found] == [
        ("tasks shipped", "ok"),
        ("evaluation set mine", "ok"),
        ("evaluation set other", "problem"),
    ]
    [missing] = look(
        'tasks.sources.shipped={inputs = ["/none/*.jsonl"], format = "chains"}',
        reference="smollm2-135m",
    )
    assert missing.state == "problem"
