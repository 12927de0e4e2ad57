"""What a cluster is asked to run."""

from pathlib import Path

import pytest

from launch.submission import Submission, submit
from pipeline.errors import InputError

ADDRESS = "http://127.0.0.1:9"


def make(config: str, folder: Path, *env: str) -> Submission:
    return Submission("synth", config, ["synth.journal=true", "a.b=x y"], ADDRESS, str(folder), env)


def test_the_config_is_named_as_the_cluster_sees_it(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    config = tmp_path / "configs" / "my.toml"
    config.write_text("")
    command = make(str(config), tmp_path).entrypoint()
    assert command == "ipt synth configs/my.toml synth.journal=true 'a.b=x y'"
    assert make("quickstart", tmp_path).entrypoint().startswith("ipt synth quickstart ")


def test_a_config_outside_the_working_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    config = tmp_path / "my.toml"
    config.write_text("")
    with pytest.raises(InputError, match="does not lie below the working directory"):
        make(str(config), tmp_path / "work").entrypoint()


def test_variables_are_passed_by_value_or_by_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    environment = make("quickstart", tmp_path, "HF_TOKEN", "MODE=a=b").runtime_env()
    assert environment["env_vars"] == {"HF_TOKEN": "secret", "MODE": "a=b"}
    with pytest.raises(InputError, match="--env NOT_SET: not set here"):
        make("quickstart", tmp_path, "NOT_SET").runtime_env()


def test_no_cluster_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no Ray job server answers"):
        submit(make("quickstart", tmp_path), wait=False)
