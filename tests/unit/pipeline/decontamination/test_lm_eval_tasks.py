"""Task files of lm-evaluation-harness: their layouts are found, what cannot be used is refused."""

import importlib.util
from pathlib import Path

import pytest

from pipeline.errors import InputError
from tests.unit.pipeline.decontamination.quizzes import (
    PADDING,
    QUESTION,
    load,
    write_lines,
)

ARC = """
task: my_arc
dataset_path: json
dataset_name: null
output_type: multiple_choice
dataset_kwargs:
  data_files:
    train: data/train.jsonl
    test: data/test.jsonl
training_split: train
fewshot_split: train
test_split: test
process_results: !function utils.process_results
doc_to_text: "Question: {{question.strip()}}\\nA. {{choices.text[0]}}\\nB. {{choices.text[1]}}"
doc_to_target: "{{choices.label.index(answerKey)}}"
doc_to_choice: "{{choices.text}}"
metric_list:
  - metric: acc
"""
ARC_TEST = {
    "question": " What lets a heavy ship float? ",
    "choices": {"text": ["the water it pushes aside", "its paint"], "label": ["A", "B"]},
    "answerKey": "A",
}
BARE = "What lets a heavy ship float? The water it pushes aside. Its paint!"


@pytest.fixture
def task(tmp_path: Path):
    """Writes a task beside its data, and gives the path of the task."""
    data = tmp_path / "tasks" / "data"
    data.mkdir(parents=True)
    write_lines(data / "test.jsonl", ARC_TEST, {**ARC_TEST, "question": QUESTION})
    write_lines(data / "train.jsonl", {**ARC_TEST, "question": QUESTION[::-1]})

    def write(text: str, name: str = "task.yaml") -> Path:
        (tmp_path / "tasks" / name).write_text(text)
        return tmp_path / "tasks" / name

    return write


def test_a_task_is_found_bare_and_in_its_own_layout(task) -> None:
    index = load(task(ARC))
    layout = "question: What lets a heavy ship float? A. the water it pushes aside B. its paint"
    assert index.find(PADDING + layout).record == 1
    assert index.find(BARE).record == 1
    assert index.find(QUESTION).record == 2
    assert index.find(QUESTION[::-1]) is None, "few-shot records are not scored"
    assert index.find("What lets a heavy ship float?") is None, "six words"
    assert index.summaries[0].num_records == 2


def test_the_query_of_a_task_goes_before_its_text(task) -> None:
    for query in ("question", '"{{question}}"', '"{{ question }}\\nA:"'):
        path = task(f"{ARC}\nshould_decontaminate: true\ndoc_to_decontamination_query: {query}\n")
        index = load(path)
        assert index.find(QUESTION).record == 2
        assert index.find(BARE) is None
        assert index.summaries[0].num_ignored == 1, query


@pytest.mark.parametrize("data_files", ["data/test.jsonl", "[data/test.jsonl]", "data/te*.jsonl"])
def test_files_for_no_split_are_every_splits(task, data_files: str) -> None:
    path = task(
        f"task: t\ndataset_path: json\ndataset_kwargs: {{data_files: {data_files}}}\n"
        "validation_split: train\ndoc_to_text: '{{question}}'\ndoc_to_target: answerKey\n"
    )
    assert load(path).find(QUESTION).record == 2


def test_includes_are_merged_and_own_keys_win(task) -> None:
    task(ARC.replace("test_split: test", "test_split: train"), "_base_yaml")
    path = task("include: _base_yaml\ntask: other\n")
    assert load(path).find(QUESTION) is None
    assert load(path).find(QUESTION[::-1]).record == 1
    path = task("include: [_base_yaml]\ntask: other\ntest_split: test\n")
    assert load(path).find(QUESTION).record == 2


def test_functions_of_a_task_are_not_run_and_all_strings_taken(task) -> None:
    text = next(line for line in ARC.splitlines() if line.startswith("doc_to_text"))
    for ours in (
        ARC.replace(text, "doc_to_text: !function utils.doc_to_text"),
        ARC.replace(text, 'process_docs: !function utils.add\ndoc_to_text: "{{made_up_field}}"'),
    ):
        assert ours != ARC
        assert load(task(ours)).find(QUESTION).record == 2


def test_fields_of_a_task_go_before_its_templates(task) -> None:
    index = load(task(ARC), fields=("choices.text",), min_words=5)
    assert index.find("the water it pushes aside").record == 1
    assert index.find(QUESTION) is None


def test_a_task_on_a_builder_of_the_datasets_library(task, tmp_path: Path) -> None:
    (tmp_path / "tasks" / "data" / "test.csv").write_text(f'question\n"{QUESTION}"\n')
    ours = ARC.replace("dataset_path: json", "dataset_path: csv").replace("test.jsonl", "test.csv")
    path = task(f"{ours}\ndoc_to_decontamination_query: question\n")
    assert load(path).find(QUESTION).record == 1


def test_a_data_set_that_cannot_be_fetched(task, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_args, **_settings) -> None:
        raise ConnectionError("Couldn't reach 'allenai/none' on the Hub")

    monkeypatch.setattr("datasets.load_dataset", offline)
    hub = "task: t\ndataset_path: allenai/none\ntest_split: test\ndoc_to_text: x\n"
    with pytest.raises(InputError, match=r"'allenai/none' cannot be opened.*download it"):
        load(task(hub))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("data/test.jsonl", "data/none.jsonl", r"tasks/data/none\.jsonl.*no such path"),
        ("test_split: test", "test_split: tset", "no split 'tset'; did you mean 'test'"),
        ("test_split: test", "", "has no test_split or validation_split"),
        ("{{question.strip()}}", "{{qestion}}", "did you mean 'question'"),
        ("{{question.strip()}}", "{{question.strip(}}", "a template fails"),
        ("{{question.strip()}}", "{{question.__class__.__mro__}}", "unsafe"),
        ("metric_list:", "doc_to_decontamination_query: qestion\nx:", "no field 'qestion'; did"),
        ("dataset_path: json", "", r"names no data set \(dataset_path\)"),
        (
            "dataset_path: json",
            "dataset_path: json\nclass: !function t.T",
            "write them to a .jsonl",
        ),
        ("task: my_arc", "group: g\ntask: [a, b]", "is a group of tasks"),
        ("task: my_arc", "include: none.yaml", r"none\.yaml: no such file, included by"),
        ("task: my_arc", "include: task.yaml", "includes itself"),
        ("task: my_arc", "task: [", "not valid YAML"),
        ("  data_files:", "  data_dir: x\n  data_files:", "by data_files alone"),
        ("test_split: test", "test_split: 1", r"test_split \(1\) must be a string"),
        ("test_split: test", "test_split: [test]", r"test_split .* must be a string"),
        ("dataset_name: null", "dataset_name: 2024", r"dataset_name \(2024\) must be a string"),
        ("    test: data/test.jsonl", "    test: null", "data_files .* must be a path, a list"),
        ("    test: data/test.jsonl", "    test: [5]", "data_files .* must be a path, a list"),
        ("task: my_arc", "include: 5", r"include \(5\) must be a path or a list"),
        ("{{question.strip()}}", "{{1/0}}", "a template fails"),
        ("{{question.strip()}}", "{{10.0 ** 400}}", "a template fails"),
        ("{{question.strip()}}", "{{question|regex_replace('(', '')}}", "a template fails"),
        (
            "{{question.strip()}}",
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            "a template fails",
        ),
    ],
)
def test_a_task_that_cannot_be_used(task, old: str, new: str, message: str) -> None:
    assert old in ARC
    with pytest.raises(InputError, match=message):
        load(task(ARC.replace(old, new)))


@pytest.mark.parametrize("kwargs", ["[a]", "text"])
def test_dataset_kwargs_are_a_mapping(task, kwargs: str) -> None:
    head, _, _ = ARC.partition("dataset_kwargs:")
    with pytest.raises(InputError, match=r"dataset_kwargs .* must be a mapping"):
        load(task(f"{head}dataset_kwargs: {kwargs}\ntest_split: test\ndoc_to_text: question\n"))


def test_a_bare_field_that_a_function_adds_takes_all_strings(task) -> None:
    text = next(line for line in ARC.splitlines() if line.startswith("doc_to_text"))
    ours = ARC.replace(text, "process_docs: !function utils.add\ndoc_to_text: made_up_field")
    assert load(task(ours)).find(QUESTION).record == 2


def test_a_task_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"sets\.quiz: .*none\.yaml: no such file; correct"):
        load(tmp_path / "none.yaml")


@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None, reason="needs lm_eval")
def test_a_task_that_the_harness_ships(tmp_path: Path) -> None:
    """Its templates and its include, on records of the same shape in a file."""
    folder = Path(importlib.util.find_spec("lm_eval").submodule_search_locations[0])
    shipped = folder / "tasks" / "arc" / "arc_challenge.yaml"
    record = {**ARC_TEST, "question": "Which of these carries blood from the heart to the lungs?"}
    write_lines(tmp_path / "arc.jsonl", record)
    ours = tmp_path / "ours.yaml"
    ours.write_text(
        f"include: {shipped}\ndataset_path: json\ndataset_kwargs: {{data_files: arc.jsonl}}\n"
    )
    found = load(ours).find(f"Quiz: {record['question']} The pulmonary artery.")
    assert found.ngram == "which of these carries blood from the heart to the lungs"
