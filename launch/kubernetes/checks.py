"""What cannot work in a cluster is refused before anything is written."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from launch.config import PipelineConfig
from launch.kubernetes.request import MOUNT, Request
from pipeline import storage
from pipeline.errors import InputError

_STORE = "s3://"
"""What the image can open: it carries the extra `s3`."""
_PATH_MARKS = ("/", ".", "~", "file://")
_LOOPBACK = re.compile(r"localhost|127(\.\d+){3}|::1")


def check_config(config: PipelineConfig, request: Request) -> None:
    """Refuse a config that pods could not run.

    Raises:
        InputError: names the setting and the remedy.
    """
    _check_run_folder(config.run.dir, request)
    for key, path in _paths(config):
        _check_path(key, path, request)
    if config.synth.workers.resources:
        raise InputError(
            f"synth.workers.resources ({config.synth.workers.resources}): workers rendered here "
            "offer no custom resources, so that no engine would start; leave it out"
        )
    _check_engine(config)
    if config.train.logging.wandb_project:
        raise InputError(
            f"train.logging.wandb_project ({config.train.logging.wandb_project}): the image has no "
            "wandb, and pods get no key of it; leave it out, and look at the dashboard "
            "(monitoring/) or at TensorBoard (train.logging.tensorboard)"
        )


def _check_engine(config: PipelineConfig) -> None:
    if config.synth.engine.kind != "openai" or config.synth.protocol == "rules":
        return
    url = config.synth.engine.openai.base_url
    if _LOOPBACK.fullmatch(urlsplit(url).hostname or ""):
        raise InputError(
            f"synth.engine.openai.base_url ({url}) is the pod itself, which serves nothing; give "
            f"the address by which pods reach the server"
        )


def _check_run_folder(folder: str, request: Request) -> None:
    if request.storage == "volume":
        if not _is_below_mount(folder):
            raise InputError(
                f"run.dir ({folder}) must lie below {MOUNT}, where pods have the shared volume, "
                f"such as run.dir={MOUNT}/mine; for a store use --storage secret or identity"
            )
        return
    if not folder.startswith(_STORE):
        raise InputError(
            f"run.dir ({folder}) must be on an S3 store with --storage {request.storage}, for "
            f"example run.dir={_STORE}bucket/mine; for a folder use --storage volume"
        )
    if request.training != "none":
        raise InputError(
            f"run.dir ({folder}): training needs a file system that all pods share. Render the "
            f"stages before it with --training none; then copy rows/ to a volume and render "
            f"training with --storage volume and run.dir={MOUNT}/..."
        )


def _paths(config: PipelineConfig) -> Iterator[tuple[str, str]]:
    """Settings that name files of the user's, where a relative path is one of this machine."""
    for name, source in config.ingest.sources.items():
        for path in source.inputs:
            yield f"ingest.sources.{name}.inputs", path
        if source.dataset:
            for path in source.dataset.data_files:
                yield f"ingest.sources.{name}.dataset.data_files", path
            if source.dataset.path.startswith(_PATH_MARKS):
                yield f"ingest.sources.{name}.dataset.path", source.dataset.path
    for name, eval_set in config.ingest.decontamination.sets.items():
        yield f"ingest.decontamination.sets.{name}.path", eval_set.path
    yield "synth.style_folder", config.synth.style_folder
    yield "pack.template_folder", config.pack.template_folder
    yield "eval.task_folder", config.eval.task_folder
    references: dict[str, Any] = {
        "synth.model": config.synth.model,
        "pack.tokenizer": config.pack.tokenizer,
        "train.model.init_from": config.train.model.init_from,
    }
    # A relative one may be a name of the hub.
    yield from ((key, path) for key, path in references.items() if path.startswith(_PATH_MARKS))


def _check_path(key: str, path: str, request: Request) -> None:
    if not path or not storage.is_local(path):
        return
    if request.storage != "volume":
        raise InputError(
            f"{key} ({path}) is a path, and pods see no volume with --storage {request.storage}; "
            f"give a URI, or package://NAME/PATH for what is in the image"
        )
    if not _is_below_mount(path):
        raise InputError(
            f"{key} ({path}) must lie below {MOUNT}, which is all that pods see; copy it there, or "
            f"give a URI or package://NAME/PATH"
        )


def _is_below_mount(path: str) -> bool:
    """Whether a path is a proper one below the volume, without ways out of it."""
    inner = PurePosixPath(path.removeprefix("file://"))
    mount = PurePosixPath(MOUNT)
    return inner != mount and inner.is_relative_to(mount) and ".." not in inner.parts
