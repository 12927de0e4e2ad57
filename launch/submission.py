"""What a Ray cluster is asked to run: a stage's command line, and what it needs to be there."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import InputError

RUN, STAGE = "ipt_run", "ipt_stage"
"""Metadata of a job: folder of the run, and what is done in it."""
_STOP_WAIT = "RAY_JOB_STOP_WAIT_TIME_S"
_STOP_MARGIN_S = 30


@dataclass(frozen=True)
class Submission:
    """What is to run where."""

    stage: str
    """Name of a stage, or `run` for all."""
    config: str
    """A TOML, or the name of a preset."""
    overrides: Sequence[str]
    run_folder: str
    """Absolute, or a URI."""
    stop_grace_s: float = 0.0
    """Seconds that the command takes at most to end in order."""
    working_dir: str = "."
    """Folder that the cluster gets a copy of; empty: none, the config is there already."""
    image: str = ""
    """Container image that the job runs in, in place of a working directory."""
    runtime_env: str = ""
    """File (YAML or JSON) with more of Ray's runtime environment."""
    environment: Sequence[str] = ()
    """`NAME=VALUE`, or `NAME` for the value it has here."""

    def entrypoint(self) -> str:
        """The command line that the cluster runs, below the working directory.

        Raises:
            InputError: the config does not lie in the working directory.
        """
        config = self.config
        if not self._sends_folder and Path(config).is_file() and not Path(config).is_absolute():
            raise InputError(
                f"config {config} does not go to the cluster with --image or without a working "
                f"directory; give the name of a preset, or an absolute path that is there, too"
            )
        if self._sends_folder and Path(config).is_file():
            root, path = Path(self.working_dir).resolve(), Path(config).resolve()
            if not path.is_relative_to(root):
                raise InputError(
                    f"config {path} does not lie below the working directory {root}, which is what "
                    f"the cluster gets; give --working-dir"
                )
            config = str(path.relative_to(root))
        return shlex.join(["ipt", self.stage, config, *self.overrides])

    def full_runtime_env(self) -> dict[str, Any]:
        """Ray's runtime environment: the working directory or image, and variables.

        Raises:
            InputError: a variable that is not set here, or a file that holds no environment.
        """
        given = _read_runtime_env(self.runtime_env) if self.runtime_env else {}
        variables = {_STOP_WAIT: str(int(self.stop_grace_s) + _STOP_MARGIN_S)}
        variables |= given.pop("env_vars", {})
        for entry in self.environment:
            name, equals, value = entry.partition("=")
            if not equals and name not in os.environ:
                raise InputError(f"--env {name}: not set here; give {name}=VALUE")
            variables[name] = value if equals else os.environ[name]
        if taken := given.keys() & {"working_dir", "image_uri"}:
            raise InputError(
                f"--runtime-env {self.runtime_env} has {', '.join(sorted(taken))}; give "
                f"--working-dir or --image instead"
            )
        if self.image:
            given["image_uri"] = self.image
        elif self._sends_folder:
            given["working_dir"] = self.working_dir
        return {**given, "env_vars": variables}

    def metadata(self) -> dict[str, str]:
        """By which a job is found again."""
        return {RUN: self.run_folder, STAGE: self.stage}

    @property
    def _sends_folder(self) -> bool:
        return bool(self.working_dir) and not self.image


def _read_runtime_env(path: str) -> dict[str, Any]:
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            found = yaml.safe_load(file)  # which JSON is a part of
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"--runtime-env {path}: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("env_vars", {}), dict):
        raise InputError(
            f"--runtime-env {path} holds a {type(found).__name__}; write fields of Ray's runtime "
            f"environment, such as pip or env_vars, with names and values"
        )
    from ray.runtime_env import RuntimeEnv

    known = sorted(RuntimeEnv.known_fields)
    if unknown := found.keys() - set(known):
        raise InputError(
            f"--runtime-env {path}: Ray knows no {', '.join(sorted(map(str, unknown)))}; its "
            f"fields are {', '.join(field for field in known if not field.startswith('_'))}"
        )
    return found
