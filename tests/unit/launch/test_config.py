"""The configuration of a synthesizer's tuning: which data it needs, and which names are taken."""

from pathlib import Path
from typing import Any

import pytest

from launch.config import SELF_SYNTHETIC, TuneConfig
from pipeline.config import validate
from pipeline.errors import InputError

SQUAD = {"squad": {"inputs": ["squad.json"], "format": "squad"}}
WRITING = {
    "ingest": {"sources": {"mine": {"inputs": ["mine.jsonl"]}}},
    "synth": {"model": "m", "protocol": "rules"},
}


def config_of(**sections: Any) -> TuneConfig:
    values = {
        "run": {"dir": "/runs/t"},
        "pack": {"tokenizer": "m"},
        "train": {"num_steps": 1, "rows_per_batch": 1, "model": {"init_from": "m"}},
    }
    return validate(TuneConfig, {**values, **sections}, "t.toml")


def test_named_task_data_are_all_there_is_without_a_prompted_model() -> None:
    config = config_of(tasks={"sources": SQUAD, "max_pairs": 3})
    assert config.all_tasks() == config.tasks
    assert list(config.all_tasks().sources) == ["squad"]


def test_the_pairs_of_a_prompted_model_are_one_more_source() -> None:
    config = config_of(tasks={"sources": SQUAD, "max_pairs": 3}, **WRITING)
    tasks = config.all_tasks()
    assert list(tasks.sources) == ["squad", SELF_SYNTHETIC]
    own = tasks.sources[SELF_SYNTHETIC]
    assert (own.inputs, own.format) == (("/runs/t/filtered",), "chains")
    assert tasks.sources["squad"] == config.tasks.sources["squad"]
    assert tasks.max_pairs == 3
    assert list(config.tasks.sources) == ["squad"]


def test_a_prompted_model_alone_gives_data_enough() -> None:
    assert list(config_of(**WRITING).all_tasks().sources) == [SELF_SYNTHETIC]


@pytest.mark.parametrize("section", ["ingest", "synth"])
def test_writing_needs_corpora_and_a_model(section: str) -> None:
    with pytest.raises(InputError, match=r"needs both \[ingest\] and \[synth\]; add the other"):
        config_of(tasks={"sources": SQUAD}, **{section: WRITING[section]})


def test_no_data_at_all_is_refused() -> None:
    with pytest.raises(InputError, match=r"no tuning data: name files in \[tasks\.sources\.NAME\]"):
        config_of(tasks={"max_pairs": 3})


def test_the_name_of_a_runs_own_pairs_is_taken() -> None:
    with pytest.raises(InputError, match=r"tasks\.sources\.self-synthetic is the name of what"):
        config_of(tasks={"sources": {SELF_SYNTHETIC: SQUAD["squad"]}})


def test_a_relative_folder_is_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = config_of(run={"dir": "runs/t"}, **WRITING)
    own = config.all_tasks().sources[SELF_SYNTHETIC]
    assert own.inputs == (str(tmp_path / "runs" / "t" / "filtered"),)
