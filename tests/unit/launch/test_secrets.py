"""No setting of any config holds a secret: those that have to do with one name a variable."""

import importlib
import pkgutil
import re

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
