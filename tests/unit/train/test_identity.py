"""Which training folder goes on with which rows."""

from pathlib import Path

import pytest

from pipeline.errors import StaleStageError
from pipeline.mixture.config import MixtureConfig
from pipeline.opening import open_stage
from pipeline.run_folder import RunConfig
from pipeline.stage import Manifest, PartCommit, StageFolder
from train.config import TrainConfig
from train.identity import open_train_stage

TRAIN = TrainConfig.model_validate(
    {"model": {"shape": {"model_type": "llama"}}, "num_steps": 10, "rows_per_batch": 16}
)


def rows_of(folder: Path, **inputs: str) -> Manifest:
    return open_stage(str(folder), "pack", {}, inputs).close()


def opened(folder: Path, rows: Manifest, allow_append: bool = True) -> StageFolder:
    run = RunConfig(dir=str(folder), allow_append=allow_append)
    return open_train_stage(TRAIN, MixtureConfig(), run, rows)


@pytest.fixture
def rows(tmp_path: Path) -> Manifest:
    return rows_of(tmp_path / "rows")


@pytest.fixture
def grown(rows: Manifest) -> Manifest:
    """The same rows with more of them."""
    return rows.model_copy(update={"fingerprint": "of more rows"})


@pytest.fixture
def trained(tmp_path: Path, rows: Manifest) -> StageFolder:
    stage = opened(tmp_path, rows)
    stage.commit(PartCommit(part="part-00000000", files=[], records_in=0, records_out=0))
    return stage


@pytest.mark.usefixtures("trained")
def test_training_under_way_goes_on_with_rows_that_have_grown(
    tmp_path: Path, grown: Manifest
) -> None:
    with pytest.raises(StaleStageError, match="--allow-append keeps what is written") as caught:
        opened(tmp_path, grown, allow_append=False)
    assert caught.value.has_grown
    opened(tmp_path, grown).adopt()
    assert opened(tmp_path, grown, allow_append=False).identity.inputs["rows"] == grown.input_key()


def test_complete_training_does_not(tmp_path: Path, trained: StageFolder, grown: Manifest) -> None:
    done = trained.close()
    for allow_append in (False, True):
        with pytest.raises(StaleStageError, match="go on there, or remove") as caught:
            opened(tmp_path, grown, allow_append)
        assert caught.value.has_grown
    assert trained.finished() == done


@pytest.mark.usefixtures("trained")
def test_rows_made_anew_are_left_to_the_loader_to_judge(tmp_path: Path) -> None:
    anew = rows_of(tmp_path / "others")
    with pytest.raises(StaleStageError, match=r"inputs\.rows") as caught:
        opened(tmp_path, anew, allow_append=False)
    assert not caught.value.has_grown
    assert opened(tmp_path, anew).identity.inputs["rows"] == anew.input_key()


def test_an_adapter_goes_on_with_its_own_base_alone(tmp_path: Path, rows: Manifest) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    weights = base / "model.safetensors"
    weights.write_bytes(b"one")
    train = TrainConfig.model_validate(
        {"model": {"init_from": str(base)}, "lora": {}, "num_steps": 1, "rows_per_batch": 1}
    )
    for allow_append in (False, True):
        run = RunConfig(dir=str(tmp_path / str(allow_append)), allow_append=allow_append)
        begun = open_train_stage(train, MixtureConfig(), run, rows)
        begun.commit(PartCommit(part="part-00000000", files=[], records_in=0, records_out=0))
        weights.write_bytes(b"two")
        with pytest.raises(StaleStageError, match="base"):
            open_train_stage(train, MixtureConfig(), run, rows)
        weights.write_bytes(b"one")
        open_train_stage(train, MixtureConfig(), run, rows)
