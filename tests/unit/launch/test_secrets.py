"""No setting of any config holds a secret or runs foreign code unasked; SECURITY.md shows tests."""

import importlib
import pkgutil
import re
from pathlib import Path

import launch
import pipeline
import synth
import train
from pipeline.config import StrictConfig

SECRET = re.compile(r"(?:^|_)(?:key|token|secret|password|passwd|credentials?|auth|login)(?:_|$)")
# Keys that open nothing.
HARMLESS = {
    ("SourcesFile", "input_key"),
    ("SourcesFile", "token_bytes"),
}


def every_config() -> set[type[StrictConfig]]:
    """All configs and records of our packages."""
    for package in (pipeline, synth, train, launch):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name != "train.pretrain":  # a script
                importlib.import_module(module.name)
    found, waiting = set[type[StrictConfig]](), [StrictConfig]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            if kind not in found and kind.__module__.split(".")[0] != "tests":
                found.add(kind)
                waiting.append(kind)
    return found


def test_no_field_holds_a_secret() -> None:
    configs = every_config()
    assert {"OpenAIConfig", "RunConfig", "LoggingConfig", "IngestConfig"} <= {
        kind.__name__ for kind in configs
    }
    suspects = {
        (kind.__name__, name)
        for kind in configs
        for name in kind.model_fields
        if SECRET.search(name) and not name.endswith("_env")
    }
    assert suspects == HARMLESS


def test_code_of_models_is_not_run_unless_asked_for() -> None:
    defaults = {
        kind.__name__: kind.model_fields["trust_remote_code"].default
        for kind in every_config()
        if "trust_remote_code" in kind.model_fields
    }
    assert defaults.keys() >= {"ModelConfig", "SynthConfig"}
    assert not any(defaults.values())


def test_the_tests_that_show_it_are_there() -> None:
    root = Path(__file__).parents[3]
    named = re.findall(r"`((?:tests|pipeline)/[\w/.]+)`", (root / "SECURITY.md").read_text("utf-8"))
    assert len(named) > 10
    assert [path for path in named if not (root / path).is_file()] == []
