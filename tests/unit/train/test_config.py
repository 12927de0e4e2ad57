"""Training settings: learning rate, batch arithmetic, the generated DeepSpeed dict."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from train.config import ModelConfig, OptimizerConfig, TrainConfig
from train.deepspeed_config import deepspeed_config
from train.schedule import learning_rate

GOLDEN = Path(__file__).parents[2] / "golden"


def make(**settings) -> TrainConfig:
    values = {"model": {"shape": {"model_type": "llama"}}, "num_steps": 10, "rows_per_batch": 16}
    return TrainConfig.model_validate(values | settings)


def test_adapters_need_a_base_and_decide_the_weights() -> None:
    with pytest.raises(ValidationError, match=r"lora trains beside weights.*set model\.init_from"):
        make(lora={})
    found = make(lora={"rank": 4}, model={"init_from": "org/name"})
    assert found.content_fields()["lora"] == {
        "rank": 4,
        "alpha": 32.0,
        "dropout": 0.0,
        "targets": (),
    }
    assert "lora" not in make().content_fields(), "runs without keep their identity"


def test_warm_up_then_cosine() -> None:
    config = OptimizerConfig(peak_lr=1.0, warmup_steps=4, final_lr_ratio=0.1)
    rates = [learning_rate(config, step, 14) for step in range(15)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[9] == pytest.approx(0.55)
    assert rates[14] == pytest.approx(0.1)
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_a_line_down_to_the_final_rate() -> None:
    config = OptimizerConfig(peak_lr=1.0, warmup_steps=2, final_lr_ratio=0.0, schedule="linear")
    rates = [learning_rate(config, step, 12) for step in range(13)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[2:] == pytest.approx([1 - n / 10 for n in range(11)])


def test_warm_up_stable_decay() -> None:
    config = OptimizerConfig(
        peak_lr=1.0, warmup_steps=2, final_lr_ratio=0.0, schedule="wsd", decay_fraction=0.25
    )
    rates = [learning_rate(config, step, 20) for step in range(21)]
    assert rates[:2] == [0.5, 1.0]
    assert set(rates[2:16]) == {1.0}
    assert rates[15:] == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2, 0.0])


def test_a_decay_longer_than_the_run_begins_after_warm_up() -> None:
    config = OptimizerConfig(peak_lr=1.0, warmup_steps=5, schedule="wsd", decay_fraction=1.0)
    rates = [learning_rate(config, step, 10) for step in range(10)]
    assert rates[4] == rates[5] == 1.0
    assert rates[5:] == sorted(rates[5:], reverse=True)


@pytest.mark.parametrize(("num_ranks", "steps"), [(1, 4), (2, 2), (3, 2), (4, 1), (5, 1)])
def test_a_batch_that_does_not_divide_is_filled_up(num_ranks: int, steps: int) -> None:
    config = make(micro_rows=4)
    assert config.rows_per_batch == 16
    assert config.accumulation_steps(num_ranks) == steps
    made = deepspeed_config(config, num_ranks)
    assert made["train_batch_size"] == 4 * steps * num_ranks


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("zero0-fp32", {"zero_stage": 0, "precision": "fp32"}),
        ("zero0-bf16", {"zero_stage": 0}),
        ("zero1-bf16", {"zero_stage": 1}),
        ("zero2-bf16", {"zero_stage": 2}),
        ("zero2-bf16-offload", {"zero_stage": 2, "offload": "optimizer"}),
        ("zero3-bf16", {"zero_stage": 3}),
        ("zero3-bf16-offload", {"zero_stage": 3, "offload": "all"}),
    ],
)
def test_the_deepspeed_dict_is_as_recorded(name: str, settings: dict, update_golden: bool) -> None:
    made = deepspeed_config(make(micro_rows=2, **settings), 4)
    golden = GOLDEN / f"deepspeed-{name}.json"
    if update_golden:
        golden.write_text(json.dumps(made, indent=1) + "\n")
    assert made == json.loads(golden.read_text())


def test_a_model_has_one_origin() -> None:
    with pytest.raises(ValidationError, match="either init_from"):
        ModelConfig()
    with pytest.raises(ValidationError, match="model_type"):
        ModelConfig(shape={"hidden_size": 8})


def test_reporting_and_placement_do_not_change_what_a_run_is() -> None:
    plain = make().content_fields()
    other = make(
        num_ranks=2,
        zero_stage=3,
        offload="all",
        checkpoint_every=7,
        log_every=3,
        heldout={"every": 2},
        model={"shape": {"model_type": "llama"}, "attention": "eager"},
        loss={"chunk_tokens": 64},
    )
    assert other.content_fields() == plain
    assert make(loss={"z_loss": 1e-4}).content_fields() != plain
    assert make(num_steps=11).content_fields() != plain


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"offload": "all", "zero_stage": 2}, "needs zero_stage = 3, not 2"),
        ({"offload": "optimizer", "zero_stage": 0}, "1, 2 or 3, not 0"),
        ({"heldout": {"sample_tokens": 5}, "zero_stage": 3}, "0, 1 or 2, not 3"),
        ({"anomaly": {"policy": "rollback"}}, r"checkpoint_every \(500\) must be below num_steps"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        make(**settings)
