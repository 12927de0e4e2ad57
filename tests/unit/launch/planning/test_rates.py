"""The table of rates: every figure has an origin, and what rests on none says so."""

import re
from pathlib import Path

import pytest

from launch.planning.rates import Rate, RateReader, Rates, load_rates, own_rate
from pipeline.errors import InputError

ROOT = Path(__file__).parents[4]


def test_what_is_measured_names_a_command_and_what_it_ran_on() -> None:
    rates = load_rates()
    measured = {name: rate for name, rate in rates.by_name.items() if rate.kind == "measured"}
    assert len(measured) > 10
    for name, rate in measured.items():
        assert re.search(r"python |ipt |`", rate.source), name
        for script in re.findall(r"tests/\S+\.py", rate.source):
            assert (ROOT / script).is_file(), name


def test_no_command_of_readme_measures_what_the_table_calls_assumed() -> None:
    rates = load_rates().by_name
    unmeasured = {
        "train.network_bytes_per_s",
        "synth.small_model_tokens_per_s",
        "synth.large_model_tokens_per_s",
        "text.document_tokens",
        "storage.bytes_per_s",
    }
    assert all(rates[name].kind != "measured" and rates[name].why for name in unmeasured)


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({"kind": "measured", "on": "a machine"}, "source"),
        ({"kind": "published", "source": "somebody"}, "why"),
        ({"kind": "assumed"}, "why"),
        ({"kind": "assumed", "why": "so", "on": "a machine"}, "measured on nothing"),
    ],
)
def test_a_rate_without_origin_is_refused(values: dict[str, str], missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        Rate.model_validate({"value": 1, "unit": "s"} | values)


def test_a_table_with_a_bare_number_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "rates.toml"
    table.write_text("[train]\nmfu = 0.5\n")
    with pytest.raises(InputError, match=r"train\.mfu must be a table"):
        load_rates(table)


def test_the_weakest_rate_decides_what_an_estimate_rests_on() -> None:
    elsewhere = Rate(value=1, unit="s", kind="measured", on="host A", source="make test")
    guessed = Rate(value=1, unit="s", kind="assumed", why="it is so")
    own = own_rate(2.0, "s", "runs/mine")
    reader = RateReader(Rates({"own": own, "elsewhere": elsewhere, "guessed": guessed}))
    assert reader("own") == 2.0
    assert reader.basis == "this run"
    reader("elsewhere")
    assert reader.basis == "carried over"
    assert reader.carried_over == ["elsewhere"]
    reader("guessed")
    assert reader.basis == "assumed"
    assert reader.assumptions == ["it is so"]


def test_every_rate_is_shown_with_its_origin() -> None:
    lines = list(load_rates().lines())
    assert any("train.compiled_mfu" in line and "training_gpu.py" in line for line in lines)
    assert any("storage.bytes_per_s" in line and "assumed" in line for line in lines)
