"""Training settings: learning rate, batch arithmetic, the generated DeepSpeed dict."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from train.config import ModelConfig, OptimizerConfig, TrainConfig, deepspeed_config, learning_rate

GOLDEN = Path(__file__).parents[2] / "golden"


def make(**settings) -> TrainConfig:
    values = {"model": {"shape": {"model_type": "llama"}}, "num_steps": 10, "rows_per_batch": 16}
    return TrainConfig.model_validate(values | settings)


def test_warm_up_then_cosine() -> None:
    config = OptimizerConfig(peak_lr=1.0, warmup_steps=4, final_lr_ratio=0.1)
    rates = [learning_rate(config, step, 14) for step in range(15)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[9] == pytest.approx(0.55)
    assert rates[14] == pytest.approx(0.1)
    assert rates[4:] == sorted(rates[4:], reverse=True)


@pytest.mark.parametrize(("num_ranks", "steps"), [(1, 4), (2, 2), (3, 2), (4, 1), (5, 1)])
def test_a_batch_that_does_not_divide_is_filled_up(num_ranks: int, steps: int) -> None:
    config = make(micro_rows=4)
    assert config.rows_per_batch == 16
    assert config.accumulation_steps(num_ranks) == steps
    made = deepspeed_config(config, num_ranks)
    assert made["train_batch_size"] == 4 * steps * num_ranks


@pytest.mark.parametrize(("stage", "precision"), [(0, "fp32"), (2, "bf16"), (3, "bf16")])
def test_the_deepspeed_dict_is_as_recorded(stage: int, precision: str) -> None:
    made = deepspeed_config(make(zero_stage=stage, precision=precision, micro_rows=2), 4)
    golden = GOLDEN / f"deepspeed-zero{stage}-{precision}.json"
    assert made == json.loads(golden.read_text())


def test_a_model_has_one_origin() -> None:
    with pytest.raises(ValidationError, match="either init_from"):
        ModelConfig()
    with pytest.raises(ValidationError, match="model_type"):
        ModelConfig(shape={"hidden_size": 8})


def test_reporting_and_placement_do_not_change_what_a_run_is() -> None:
    plain = make().content_fields()
    assert make(num_ranks=2, checkpoint_every=7, log_every=3).content_fields() == plain
    assert make(num_steps=11).content_fields() != plain
