"""Settings written as TOML read back the same."""

import tomllib

from launch.experiment.toml_text import toml_text


def test_what_is_written_reads_back_the_same() -> None:
    values = {
        "run": {"dir": 'C:\\a "b"\n\x7f\u00e9\U0001f600', "seed": 3},
        "mixture": {
            "ratio": {"*-raw": 0.8, "a.b": 1e-05},
            "phases": [{"until": 0.5, "weights": {"a-raw": 1}}, {"until": 1}],
        },
        "train": {"compile": True, "heldout": {}, "optimizer": {"peak_lr": 2e-3}},
        "empty": [],
    }
    assert tomllib.loads(toml_text(values)) == values
    assert toml_text({"a": 1, "b": {"c": [True, 2.0]}}) == "a = 1\n\n[b]\nc = [true, 2.0]\n"
