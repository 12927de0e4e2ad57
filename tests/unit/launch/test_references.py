"""What CONFIG and RUN stand for, and which kind of run a config is of."""

from pathlib import Path

import pytest

from launch.config import PipelineConfig, TuneConfig
from launch.references import (
    any_run_of,
    find_config,
    invocation_of,
    run_folder_of,
    tuning_of,
)
from pipeline.errors import InputError
from pipeline.shards import read_lines

CONFIGS = Path(__file__).parents[3] / "launch" / "configs"
TUNINGS = sorted(path.stem for path in (CONFIGS / "tune").glob("*.toml"))
PRE_TRAINING = str(CONFIGS / "quickstart.toml")
TUNING = str(CONFIGS / "tune" / "smollm2-135m.toml")


def test_presets_of_tuning_ship() -> None:
    assert TUNINGS == ["instruction-synthesizer", "smollm2-135m"]


@pytest.mark.parametrize("name", TUNINGS)
def test_every_preset_of_tuning_loads_by_its_name_and_by_its_path(name: str) -> None:
    path = str(CONFIGS / "tune" / f"{name}.toml")
    by_name, by_path = tuning_of(name, ["train.num_steps=7"]), tuning_of(path, None)
    assert by_name.config_path == by_path.config_path == path
    assert by_name.overrides == ["train.num_steps=7"]
    assert by_name.config.train.num_steps == 7
    restored = by_path.config.train.model_copy(update={"num_steps": 7})
    assert by_name.config == by_path.config.model_copy(update={"train": restored})
    assert by_path.config.train.num_steps > 7


def test_the_shipped_mixture_names_the_data_sets_that_ship() -> None:
    config = tuning_of("smollm2-135m", None).config
    data = CONFIGS.parents[1] / "synth" / "synthesizers" / "smollm2-135m" / "tuning_data.jsonl.zst"
    lines = b"".join(read_lines(str(data)))
    weights = config.mixture.weights
    assert weights is not None
    named = {name.removesuffix("-tasks") for name in weights}
    assert named == {"questions", "speeches", "manual", "glossary"}
    for name in named:
        assert f'"rc_name":"{name}"'.encode() in lines


def test_a_run_is_of_the_kind_that_its_sections_are() -> None:
    for reference in ("quickstart", PRE_TRAINING):
        assert isinstance(any_run_of(reference, None).config, PipelineConfig)
    for reference in ("smollm2-135m", TUNING):
        assert isinstance(any_run_of(reference, ["run.seed=5"]).config, TuneConfig)
    assert any_run_of(TUNING, ["run.seed=5"]).config.run.seed == 5


@pytest.mark.parametrize("reference", ["smollm2-135m", TUNING])
def test_a_tuning_is_no_pre_training(reference: str) -> None:
    with pytest.raises(InputError, match=r"is that of a synthesizer's tuning.*use ipt tune and"):
        invocation_of(reference, None)


def test_a_pre_training_is_no_tuning() -> None:
    with pytest.raises(
        InputError, match=r"quickstart\.toml tunes no synthesizer, as it has no \[tasks\]; add"
    ):
        tuning_of(PRE_TRAINING, None)
    with pytest.raises(InputError, match=r"presets: instruction-synthesizer, smollm2-135m$"):
        tuning_of("quickstart", None)


def test_what_is_nowhere_is_refused(tmp_path: Path) -> None:
    for find in (any_run_of, invocation_of):
        with pytest.raises(InputError, match="no such preset; presets: continual-8b, quickstart"):
            find("nowhere", None)
    with pytest.raises(InputError, match=r"no such file and no such preset; presets: $"):
        find_config("quickstart", tmp_path)
    with pytest.raises(InputError, match="run 'nowhere': no such folder"):
        run_folder_of("nowhere", None)


def test_a_runs_folder_is_given_or_found_by_its_config(tmp_path: Path) -> None:
    settings = [f"run.dir={tmp_path / 'r'}"]
    for reference in ("quickstart", "smollm2-135m", PRE_TRAINING, TUNING):
        assert run_folder_of(reference, settings).root == str(tmp_path / "r")
    assert run_folder_of(str(tmp_path), None).root == str(tmp_path)
    assert run_folder_of("s3://bucket/run/", None).root == "s3://bucket/run"


def test_a_setting_that_is_not_usable_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'max_pairs'"):
        tuning_of("smollm2-135m", ["tasks.max_pair=1"])
    with pytest.raises(InputError, match="needs both"):
        any_run_of("smollm2-135m", ["synth.model=m"])
