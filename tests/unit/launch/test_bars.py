"""The line that a benchmark or comparison ends in."""

import json

from launch.bars import bars_line, figure


def test_the_line_is_one_json_object() -> None:
    line = bars_line("x", {"loss": figure(1.23456)}, "H100")
    found = json.loads(line)
    assert "\n" not in line
    assert found["bars"] == {"loss": {"value": 1.235, "bar": None, "ok": True}}
    assert found["machine"].startswith("H100, ")
    assert figure(1.23456, 4)["value"] == 1.2346
