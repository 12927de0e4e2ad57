"""`ipt tune-eval` on the fake engine: which models are measured, and where the measures go."""

import json
import shutil
from pathlib import Path

import pytest

from launch.config import TuneConfig
from launch.stages import Invocation
from launch.tuning import evaluate_synthesizers
from pipeline.errors import InputError
from pipeline.opening import open_stage
from pipeline.run_folder import RunFolder
from synth.measuring.held_out import read_held_out
from tests.tuning_run import write_task_data, write_tasks

CONTEXTS = {
    name: [f"The {name} and the law of the {word}." for word in ("senate", "treaty", "union")]
    for name in ("race", "squad")
}


@pytest.fixture
def base(tmp_path: Path, tokenizer_folder: Path) -> Path:
    """A model as far as the fake engine wants one."""
    shutil.copytree(tokenizer_folder, tmp_path / "base")
    (tmp_path / "base" / "config.json").write_text("{}")
    return tmp_path / "base"


@pytest.fixture
def invocation(tmp_path: Path, base: Path) -> Invocation[TuneConfig]:
    return invocation_of(str(tmp_path / "run"), {"init_from": str(base)})


def invocation_of(folder: str, model: dict[str, object]) -> Invocation[TuneConfig]:
    sources = {"collection": {"inputs": ["ft.jsonl"], "format": "collection"}}
    values = {
        "run": {"dir": folder},
        "tasks": {"sources": sources},
        "pack": {"tokenizer": "none", "heldout_fraction": 0.99},
        "train": {"num_steps": 1, "rows_per_batch": 1, "model": model},
        "tune_eval": {
            "max_examples": 4,
            "shots": [0, 1],
            "max_new_tokens": 64,
            "max_model_len": 512,
            "engine": {"kind": "fake"},
        },
    }
    return Invocation(TuneConfig.model_validate(values), "t.toml", ())


def write_data(folder: RunFolder, tmp_path: Path) -> None:
    write_tasks(folder, write_task_data(tmp_path / "ft.jsonl", CONTEXTS))


def measured(folder: RunFolder) -> list[tuple[str, int]]:
    values = json.loads(Path(folder.synthesizer_report).read_text())
    assert values["texts"] == 4
    assert values["sources"] == ["race", "squad"]
    assert all(one["pairs_per_text"] > 0 for one in values["measurements"])
    return [(one["model"], one["shots"]) for one in values["measurements"]]


def test_the_model_before_and_after_tuning_are_measured(
    tmp_path: Path,
    base: Path,
    invocation: Invocation[TuneConfig],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = invocation.config.folder
    write_data(folder, tmp_path)
    shutil.copytree(base, folder.hf)
    open_stage(folder.hf, "export", {}, {}).close()
    evaluate_synthesizers(invocation, [], dry_run=False)
    models = [str(base), folder.hf]
    assert measured(folder) == [(model, shots) for shots in (0, 1) for model in models]
    said = capsys.readouterr().out
    assert "shots  model  texts with  pieces" in said
    page = Path(folder.eval) / "synthesizers.html"
    assert f"measures: {folder.synthesizer_report}\npage: {page}" in said
    assert page.read_text().startswith("<!doctype html>")


def test_models_that_are_named_need_no_tuning(
    tmp_path: Path, base: Path, invocation: Invocation[TuneConfig]
) -> None:
    folder = invocation.config.folder
    write_data(folder, tmp_path)
    evaluate_synthesizers(invocation, [str(base)], dry_run=False)
    assert measured(folder) == [(str(base), 0), (str(base), 1)]


def test_without_an_export_nothing_is_measured(
    tmp_path: Path, invocation: Invocation[TuneConfig]
) -> None:
    folder = invocation.config.folder
    write_data(folder, tmp_path)
    with pytest.raises(InputError, match=r"run/hf: no manifest\.json"):
        evaluate_synthesizers(invocation, [], dry_run=False)
    assert not Path(folder.eval).exists()


def test_without_task_data_nothing_is_measured(
    base: Path, invocation: Invocation[TuneConfig]
) -> None:
    with pytest.raises(InputError, match=r"run/tasks: no manifest\.json"):
        evaluate_synthesizers(invocation, [str(base)], dry_run=False)


def test_a_dry_run_says_what_it_would_and_touches_nothing(
    tmp_path: Path,
    base: Path,
    invocation: Invocation[TuneConfig],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = invocation.config.folder
    evaluate_synthesizers(invocation, [], dry_run=True)
    evaluate_synthesizers(invocation, ["a", "b"], dry_run=True)
    shape = {"shape": {"model_type": "llama"}}
    evaluate_synthesizers(invocation_of(folder.root, shape), [], dry_run=True)
    assert capsys.readouterr().out.splitlines() == [
        f"would measure {models} and write {folder.synthesizer_report}"
        for models in (f"{base}, {folder.hf}", "a, b", folder.hf)
    ]
    assert list(tmp_path.iterdir()) == [base]


def test_a_run_without_a_file_system_is_refused() -> None:
    invocation = invocation_of("s3://bucket/run", {"init_from": "m"})
    with pytest.raises(InputError, match=r"s3://bucket/run\): tune-eval needs a file system"):
        evaluate_synthesizers(invocation, ["m"], dry_run=True)


def test_a_text_of_two_data_sets_is_held_out_in_both_or_in_neither(tmp_path: Path) -> None:
    texts = [f"The text of number {number}." for number in range(60)]
    folder = RunFolder(str(tmp_path / "run"))
    data = write_task_data(tmp_path / "ft.jsonl", {"race": texts, "squad": texts})
    write_tasks(folder, data)
    held_out = read_held_out(folder.tasks, 0.3, 1000)
    by_source = {
        name: {one.text for one in held_out if one.source == name} for name in ("race", "squad")
    }
    assert by_source["race"] == by_source["squad"]
    assert 5 < len(by_source["race"]) < 40
