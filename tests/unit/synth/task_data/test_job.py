"""The tasks stage: merged, capped, left out, decontaminated, restarted, and every count."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.contracts import Chain, chain_id, decode_chain, document_id
from pipeline.errors import InputError, StaleStageError
from pipeline.run_folder import RunFolder
from pipeline.shards import read_lines
from pipeline.stage import Manifest, StageFolder, read_commits
from synth.task_data.config import TasksConfig
from synth.task_data.job import run_tasks

LEAKED = (
    "A merchant from Lisbon sells seventeen barrels of olive oil, buys nine crates of lemons, "
    "and sails home before the winter storms."
)


def write_lines(path: Path, *records: object) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def record(context: str, *questions: str, name: str | None = "race") -> dict[str, Any]:
    rows = [{"Q": question, "A": f"Answer to {question}"} for question in questions]
    return {"context": context, "QA_list": rows, "QA_type": "qa", "rc_name": name}


def tasks(tmp_path: Path, *records: object, target: str = "tasks", **settings: Any) -> Manifest:
    source = {"inputs": [write_lines(tmp_path / "ft.jsonl", *records)], "format": "collection"}
    sources = {"ft": source} | settings.pop("sources", {})
    config = TasksConfig.model_validate({"sources": sources} | settings)
    return run_tasks(config, str(tmp_path / target))


def chains(folder: Path, dataset: str = "race") -> list[Chain]:
    commits = read_commits(str(folder)).values()
    shards = [commit.shard for commit in commits if commit.part.startswith(f"{dataset}/")]
    return [decode_chain(line) for shard in shards for line in read_lines(str(folder / shard))]


def questions(folder: Path, dataset: str = "race") -> dict[str, list[str]]:
    return {
        chain.shots[0].text: [pair.instruction for pair in chain.shots[0].pairs]
        for chain in chains(folder, dataset)
    }


def listed(folder: Path, name: str) -> list[dict[str, Any]]:
    uri = folder / "dropped" / name / "part-00000000.jsonl.zst"
    return [json.loads(line) for line in read_lines(str(uri))]


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("part-*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_chains_of_one_shot_a_folder_a_data_set(tmp_path: Path) -> None:
    manifest = tasks(tmp_path, record("T", "Q1?"), record("U", "Q2?", "Q3?", name="Wiki QA"))
    folder = Path(RunFolder(str(tmp_path)).tasks)
    (chain,) = chains(folder, "Wiki_QA")
    identity = document_id("Wiki_QA", "U")
    assert (chain.id, chain.source) == (chain_id([identity]), "Wiki_QA")
    assert chain.provenance == {"made_by": "task data", "format": "collection", "source": "ft"}
    (shot,) = chain.shots
    assert (shot.doc_id, shot.text, len(shot.pairs)) == (identity, "U", 2)
    assert questions(folder) == {"T": ["Q1?"]}
    assert (manifest.stage, manifest.records_in, manifest.records_out) == ("tasks", 2, 2)
    assert manifest.counts == {
        "datasets": 2,
        "input_records": 2,
        "pairs": 3,
        "pairs.free_form": 3,
    }


def test_pairs_on_one_context_make_one_example(tmp_path: Path) -> None:
    squad = [
        {"context": "T", "question": question, "answers": {"text": [answer]}}
        for question, answer in (("Q4?", "a"), ("Q5?", "b"), ("Q4?", "c"))
    ]
    sources = {
        "squad": {"inputs": [write_lines(tmp_path / "flat.jsonl", *squad)], "format": "squad"}
    }
    manifest = tasks(
        tmp_path,
        record("T", "Q1?"),
        record("U", "Q2?"),
        record(" T\r\n", "q1?", "Q3?"),
        sources=sources,
    )
    folder = tmp_path / "tasks"
    assert questions(folder) == {"T": ["Q1?", "Q3?"], "U": ["Q2?"]}
    assert questions(folder, "squad") == {"T": ["Q4?", "Q5?"]}
    assert manifest.records_in == manifest.records_out == 3
    assert manifest.counts["merged_examples"] == 3
    assert manifest.counts["pairs_dropped.duplicate_question"] == 2


def test_the_cap_keeps_those_with_the_most_pairs(tmp_path: Path) -> None:
    sizes = {"A": 2, "B": 1, "C": 3, "D": 1}
    made = [record(c, *(f"Q{n}?" for n in range(size))) for c, size in sizes.items()]
    first_of_two = min("BD", key=lambda text: document_id("race", text))
    for target, order in (("one", made), ("two", made[::-1])):
        manifest = tasks(tmp_path, *order, target=target, max_examples=3, max_pairs=2)
        found = questions(tmp_path / target)
        assert list(found) == ["C", "A", first_of_two]
        assert found["C"] == ["Q0?", "Q1?"]
        assert manifest.dropped == {"over_max_examples": 1}
        assert (manifest.records_in, manifest.records_out) == (4, 3)
        assert manifest.counts["pairs_dropped.over_max_pairs"] == 1
        assert manifest.counts["pairs_dropped.over_max_examples"] == 1
        assert manifest.counts["pairs"] == 5


def test_the_cap_counts_pairs_of_all_records_of_a_context(tmp_path: Path) -> None:
    made = [record("A", "Q1?"), record("B", "Q1?", "Q2?"), *(record("A", f"Q{n}?") for n in (2, 3))]
    tasks(tmp_path, *made, max_examples=1)
    assert questions(tmp_path / "tasks") == {"A": ["Q1?", "Q2?", "Q3?"]}


def test_data_sets_are_left_out_by_any_of_their_names(tmp_path: Path, capsys) -> None:
    story = {"source": "race", "story": "S", "questions": ["Q?"], "answers": {"input_text": ["A"]}}
    coqa = write_lines(tmp_path / "coqa.jsonl", story, story | {"source": "cnn", "story": "U"})
    manifest = tasks(
        tmp_path,
        record("T", "Q1?", "Q2?", name="PubMed_QA"),
        record("T", "Q1?", name="ConvFinQA"),
        record("T", "Q1?", name="ECQA"),
        sources={"coqa": {"inputs": [coqa], "format": "coqa"}},
        leave_out=["pubmedqa", "conv*", "race", "mmlu"],
    )
    assert set(read_commits(str(tmp_path / "tasks"))) == {
        "ECQA/part-00000000",
        "coqa/part-00000000",
    }
    assert questions(tmp_path / "tasks", "coqa") == {"U": ["Q?"]}
    assert manifest.dropped == {"left_out": 3}
    assert (manifest.records_in, manifest.records_out) == (5, 2)
    left_out = {name: n for name, n in manifest.counts.items() if "left_out" in name}
    assert left_out == {
        "left_out.PubMed_QA": 1,
        "left_out.ConvFinQA": 1,
        "left_out.coqa": 1,
        "left_out_nothing.mmlu": 1,
        "pairs_dropped.left_out": 4,
    }
    assert "leave_out: 'mmlu' is none of the data sets" in capsys.readouterr().out


def test_examples_with_a_piece_of_an_evaluation_set(tmp_path: Path) -> None:
    quiz = write_lines(tmp_path / "quiz.jsonl", {"question": LEAKED})
    made = [
        record(f"It is told: {LEAKED}", "Q1?", "Q2?"),
        record("Clean", "Q1?"),
        record("Asked", f"{LEAKED} Why?", "Q2?"),
        record("Kept", "Q1?", f"{LEAKED} Why?"),
    ]
    sets = {"sets": {"quiz": {"path": quiz}}}
    manifest = tasks(tmp_path, *made, decontamination=sets, target="all", max_examples=1)
    assert questions(tmp_path / "all") == {"Clean": ["Q1?"]}
    assert manifest.dropped == {"contaminated.quiz": 3}
    assert manifest.counts["pairs_dropped.contaminated.quiz"] == 6
    assert manifest.inputs["decontamination"]
    first = listed(tmp_path / "all", "race")[0]
    assert len(listed(tmp_path / "all", "race")) == 3
    assert (first["reason"], first["record_number"]) == ("contaminated.quiz", 1)
    assert first["ngram"].startswith("a merchant from lisbon")
    assert first["file"].endswith("ft.jsonl")
    tasks(tmp_path, *made, decontamination=sets, target="first", max_pairs=1)
    assert set(questions(tmp_path / "first")) == {"Clean", "Kept"}


def test_bad_records_are_counted_and_listed(tmp_path: Path) -> None:
    path = tmp_path / "ft.jsonl"
    tasks_of = [record("T", "Q1?"), {"context": "U"}, record("V"), record("", "Q?"), [1]]
    manifest = tasks(tmp_path, *tasks_of, {"context": "W", "QA_list": [], "rc_name": "empty"})
    assert manifest.dropped == {
        "missing_qa_list": 1,
        "no_pair": 2,
        "empty_context": 1,
        "not_an_object": 1,
    }
    assert (manifest.records_in, manifest.records_out) == (6, 1)
    assert [(each["reason"], each["line"]) for each in listed(tmp_path / "tasks", "ft")] == [
        ("missing_qa_list", 2),
        ("empty_context", 4),
        ("not_an_object", 5),
    ]
    (of_race,) = listed(tmp_path / "tasks", "race")
    assert of_race == {
        "reason": "no_pair",
        "file": str(path),
        "line": 3,
        "excerpt": "V",
        "pairs": {},
    }
    assert listed(tmp_path / "tasks", "empty")[0]["line"] == 6


def test_a_file_of_another_format(tmp_path: Path) -> None:
    good = [{"context": "T", "question": "Q?", "answers": {"text": ["A"]}}]
    write_lines(tmp_path / "a.jsonl", *good)
    write_lines(tmp_path / "b.jsonl", record("T", "Q?"), record("U", "Q?"))
    sources = {"squad": {"inputs": [f"{tmp_path}/[ab].jsonl"], "format": "squad"}}
    with pytest.raises(InputError, match=r"b\.jsonl is of the format 'squad'") as caught:
        tasks(tmp_path, record("T", "Q?"), sources=sources)
    message = str(caught.value)
    assert "sources.squad: nothing in" in message
    assert "(missing_answers 2)" in message
    assert "its fields are QA_list, QA_list.A, QA_list.Q, QA_type, context, rc_name" in message
    assert "question and answers.text" in message
    assert not read_commits(str(tmp_path / "tasks"))


def test_what_has_no_answer_is_of_the_format_all_the_same(tmp_path: Path) -> None:
    flat = {"context": "T", "question": "Q?", "answers": {"text": []}}
    path = write_lines(tmp_path / "a.jsonl", flat)
    sources = {"squad": {"inputs": [path], "format": "squad"}}
    manifest = tasks(tmp_path, record("T", "Q?"), sources=sources)
    assert manifest.counts["pairs_dropped.unanswerable"] == 1
    assert manifest.dropped == {"no_pair": 1}
    with pytest.raises(InputError, match=r"no usable example.*left_out 2$"):
        tasks(tmp_path, record("T", "Q?"), sources=sources, leave_out=["*"], target="none")


def test_a_run_that_was_cut_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [record(f"T{n}", "Q1?", name=name) for name in ("a", "b") for n in range(5)]
    made += [record("", "Q?", name="a"), record("x", name="b")]
    settings = {"examples_per_part": 2}
    whole = tasks(tmp_path, *made, target="whole", **settings)
    expected = content(tmp_path / "whole")
    assert len(read_commits(str(tmp_path / "whole"))) == 6
    commit = StageFolder.commit
    for num_commits in range(6):
        target = f"cut-{num_commits}"
        left = iter(range(num_commits))

        def cut_off(self: StageFolder, part: Any, left: Any = left) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            commit(self, part)

        monkeypatch.setattr(StageFolder, "commit", cut_off)
        with pytest.raises(KeyboardInterrupt):
            tasks(tmp_path, *made, target=target, **settings)
        monkeypatch.setattr(StageFolder, "commit", commit)
        assert len(read_commits(str(tmp_path / target))) == num_commits
        resumed = tasks(tmp_path, *made, target=target, **settings)
        assert content(tmp_path / target) == expected
        assert (resumed.counts, resumed.dropped) == (whole.counts, whole.dropped)
        assert tasks(tmp_path, *made, target=target, **settings) == resumed


def test_another_config_or_other_inputs_are_refused(tmp_path: Path) -> None:
    tasks(tmp_path, record("T", "Q1?"))
    with pytest.raises(StaleStageError, match=r"config\.max_examples"):
        tasks(tmp_path, record("T", "Q1?"), max_examples=5)
    with pytest.raises(StaleStageError, match=r"inputs\.ft/00000"):
        tasks(tmp_path, record("T", "Q1?", "Q2?"))


def test_what_the_stage_wrote_is_task_data_again(tmp_path: Path) -> None:
    tasks(tmp_path, record("T", "Q1?"), record("U", "Q2?\nOptions:\n- Answer to Q2?\n- b"))
    sources = {"own": {"inputs": [str(tmp_path / "tasks")], "format": "chains"}}
    config = TasksConfig.model_validate({"sources": sources})
    manifest = run_tasks(config, str(tmp_path / "again"))
    first, second = chains(tmp_path / "tasks"), chains(tmp_path / "again")
    assert [chain.shots for chain in first] == [chain.shots for chain in second]
    assert second[0].provenance["source"] == "own"
    assert "own/stage/0" in manifest.inputs
