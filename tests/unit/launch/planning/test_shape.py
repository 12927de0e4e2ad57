"""Counts of weights against those of the models themselves."""

import pytest

from launch.planning.rates import RateReader, load_rates
from launch.planning.shape import known_parameters, parse_count, trained_model
from pipeline.errors import InputError
from train.config import ModelConfig, TrainConfig

RATES = load_rates()


def training(**model: object) -> TrainConfig:
    return TrainConfig.model_validate({"model": model, "num_steps": 1, "rows_per_batch": 8})


@pytest.mark.parametrize("preset", ["llama-1b", "mistral-500m", "moe-small", "qwen3-0.6b"])
def test_weights_and_flops_are_those_of_the_model(preset: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from train.flops import model_flops

    fields = ModelConfig(preset=preset).full_shape() | {"vocab_size": 32_000}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**fields))
    weights = [(name, weight.numel()) for name, weight in model.named_parameters()]
    reader = RateReader(RATES)
    found = trained_model(
        training(preset=preset, shape={"vocab_size": 32_000}), "any", 1024, RATES, reader
    )
    assert found.parameters == sum(size for _, size in weights)
    flops = model_flops(model.config, weights, 1024)
    assert flops is not None
    assert found.flops.per_pair == flops.per_pair
    assert found.flops.per_token == pytest.approx(flops.per_token, rel=1e-9)
    assert not reader.assumptions


def test_a_vocabulary_that_nobody_knows_is_an_assumption() -> None:
    reader = RateReader(RATES)
    trained_model(training(preset="llama-1b"), "somebody/tokenizer", 1024, RATES, reader)
    assert any("somebody/tokenizer" in each for each in reader.assumptions)


def test_a_model_from_weights_is_known_by_table_or_name() -> None:
    assert known_parameters("meta-llama/Meta-Llama-3-8B", RATES) == 8.03e9
    assert known_parameters("somebody/model-1.7b-instruct", RATES) == pytest.approx(1.7e9)
    assert known_parameters("package://synth/synthesizers/smollm2-135m", RATES) == 135e6
    assert known_parameters("somebody/model", RATES) is None
    with pytest.raises(InputError, match="--parameters"):
        trained_model(training(init_from="somebody/model"), "t", 8, RATES, RateReader(RATES))


def test_adapters_take_no_gradients_of_the_weights_beside_them() -> None:
    whole = training(init_from="somebody/model-8b")
    lora = TrainConfig.model_validate(whole.model_dump() | {"lora": {"rank": 8}})
    reader = RateReader(RATES)
    flops = [trained_model(c, "t", 8, RATES, reader).flops.per_token for c in (whole, lora)]
    assert flops == [48e9, 32e9]


@pytest.mark.parametrize(
    ("text", "count"), [("100B", 1e11), ("1.5T", 1.5e12), ("250_000", 250_000), ("8e9", 8e9)]
)
def test_counts_as_people_write_them(text: str, count: float) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["", "many", "-1B", "0", "inf", "nan"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="number above 0"):
        parse_count(text)
