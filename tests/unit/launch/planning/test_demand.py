"""Documents and tokens that a budget asks for, by mixture and share converted."""

import pytest

from launch.planning.demand import Demand, Sizes, demand_of
from launch.planning.rates import RateReader, load_rates
from tests.unit.launch.planning.plans import config_of

RATES = load_rates()


def demand(preset: str, *overrides: str, tokens: float = 1e9, **sizes: float) -> Demand:
    config = config_of(preset, *overrides)
    said = Sizes(**sizes)  # type: ignore[arg-type]
    return demand_of(config, tokens, RATES, RateReader(RATES), said)


def test_enough_is_packed_for_every_route_and_nothing_is_repeated() -> None:
    found = demand("scratch-500m", document_tokens=1000.0)
    # 4/5 of the tokens raw, of the 4/5 of documents that stay raw: 1M documents.
    assert found.documents == pytest.approx(1e9 * 0.8 / 1000 / 0.8)
    assert found.converted == pytest.approx(0.2 * found.documents)
    augmented = found.converted * (1000 + 260)
    assert found.packed_tokens == pytest.approx(0.8e9 + augmented)
    assert augmented >= 0.2e9, "and those of the converted documents beside them"


def test_the_scarcer_route_decides() -> None:
    found = demand(
        "scratch-500m", "mixture.weights={refinedweb-augmented=1}", document_tokens=740.0
    )
    assert found.converted == pytest.approx(1e9 / (740 + 260))
    assert found.documents == pytest.approx(5 * found.converted)


def test_instructions_are_never_converted() -> None:
    found = demand("continual-8b", document_tokens=740.0)
    assert found.converted == pytest.approx(0.5e9 / 1000)
    assert found.documents - found.converted == pytest.approx(0.5e9 / 740)


def test_a_rule_that_is_not_modelled_is_said_to_be_taken_in_proportion() -> None:
    config = config_of("scratch-500m", "mixture.weights={}", "mixture.temperature=3")
    reader = RateReader(RATES)
    demand_of(config, 1e9, RATES, reader, Sizes())
    assert any("in proportion" in each and "temperature" in each for each in reader.assumptions)


def test_all_of_a_corpus_goes_through_whatever_is_trained_on() -> None:
    found = demand("scratch-500m", tokens=1e6, documents=10_000)
    assert (found.documents, found.converted) == (10_000, pytest.approx(2_000))
    assert found.train_tokens == 1e6


def test_passages_are_no_longer_than_the_config_cuts_them() -> None:
    assert demand("quickstart").document_tokens == pytest.approx(700 / 4.98)


def test_prompts_hold_the_texts_and_pairs_before_them_up_to_the_window() -> None:
    found = demand("scratch-500m", document_tokens=1000.0)
    assert found.prompt_tokens / found.converted == pytest.approx((1000 + 2260) / 2)
    found = demand("scratch-500m", document_tokens=9000.0)
    assert found.prompt_tokens / found.converted == pytest.approx(4096 - 400)


def test_mined_pairs_ask_no_engine() -> None:
    found = demand("scratch-500m", "synth.protocol=rules")
    assert found.output_tokens == found.prompt_tokens == 0
    assert found.pairs > 0


def test_checkpoints_are_those_that_are_kept() -> None:
    sizes = [
        demand("scratch-500m", *more, tokens=1e11).bytes_by_folder["checkpoints"]
        for more in ((), ("train.keep_checkpoints=4",), ("train.keep_every=50000",))
    ]
    assert sizes[1] == pytest.approx(2 * sizes[0])
    assert sizes[2] == pytest.approx(sizes[0] / 2 * (2 + 3))
