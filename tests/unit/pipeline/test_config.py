"""Strict configuration."""

from pathlib import Path

import pytest
from pydantic import Field

from pipeline.config import StrictConfig, flatten, load_config
from pipeline.errors import InputError


class Inner(StrictConfig):
    learning_rate: float = 0.1
    names: dict[str, float] = Field(default_factory=dict)


class Outer(StrictConfig):
    inner: Inner = Inner()
    by_name: dict[str, Inner] = Field(default_factory=dict)
    title: str = ""


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "c.toml"
    path.write_text("title = 'file'\n[inner]\nlearning_rate = 0.5\n")
    return path


def test_command_line_beats_file_beats_default(toml: Path) -> None:
    assert load_config(Outer, toml).inner.learning_rate == 0.5
    config = load_config(Outer, toml, ["inner.learning_rate=0.7", "title=two words"])
    assert (config.inner.learning_rate, config.title) == (0.7, "two words")
    assert load_config(Outer, toml, ["inner.names.a-b=2"]).inner.names == {"a-b": 2.0}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("inner.learnin_rate=1", r"inner\.learnin_rate: unknown key; did you mean 'learning_rate'"),
        ("by_name.x.learnin_rate=1", r"by_name\.x\.learnin_rate.*did you mean 'learning_rate'"),
        ("titel=1", "did you mean 'title'"),
        ("inner.learning_rate=fast", r"inner\.learning_rate = 'fast'"),
        ("inner.learning_rate", "must have the form section.key=value"),
        ("title.x=1", "title is a value, not a section"),
    ],
)
def test_mistakes_are_named(toml: Path, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_config(Outer, toml, [override])


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.toml cannot be read"):
        load_config(Outer, tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("a = [")
    with pytest.raises(InputError, match=r"bad\.toml is not valid TOML"):
        load_config(Outer, tmp_path / "bad.toml")


def test_flatten() -> None:
    assert flatten({"a": {"b": 1, "c": {}}, "d": 2}) == {"a.b": 1, "a.c": {}, "d": 2}
