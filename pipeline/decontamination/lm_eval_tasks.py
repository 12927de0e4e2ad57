"""Task files of lm-evaluation-harness: YAML with its includes, and where a task's records are.

    arc.yaml ──include──▶ settings ──dataset_path, data_files, test_split──▶ sources of records

Functions of a task (`!function`) are kept by name and never run. Names and meaning of the keys:
lm-evaluation-harness 0.4, docs/task_guide.md.
"""

import posixpath
from dataclasses import dataclass
from typing import Any

from pipeline import storage
from pipeline.decontamination.eval_sets import nearest
from pipeline.errors import InputError
from pipeline.ingest.config import DatasetConfig, SourceConfig
from pipeline.ingest.readers import list_inputs
from pipeline.pretrained import resolve_package_path

_OUR_FORMATS = ("json", "parquet")
_SCORED_SPLITS = ("test_split", "validation_split")


@dataclass(frozen=True)
class FunctionName:
    """A `!function` of a task file, by name only."""

    name: str


@dataclass(frozen=True)
class EvalTask:
    """One task: its file, and its settings with all includes merged."""

    uri: str
    settings: dict[str, Any]


def read_task(uri: str) -> EvalTask:
    """Read a task file with everything it includes.

    Raises:
        InputError: not there, not YAML, or not one task with a data set.
    """
    uri = resolve_package_path(uri)
    settings = _read_yaml(uri, ())
    if isinstance(settings.get("task"), list) or "group" in settings:
        raise InputError(f"{uri} is a group of tasks; make each of its tasks a set")
    if "class" in settings or "custom_dataset" in settings or "dataset_path" not in settings:
        raise InputError(
            f"{uri} names no data set (dataset_path), or makes its records by code; "
            f"write them to a .jsonl file and give that as the set's path"
        )
    _check_types(uri, settings)
    return EvalTask(uri, settings)


def _check_types(uri: str, settings: dict[str, Any]) -> None:
    """Refuse values of the wrong kind where we read them: a task file may come from anywhere."""
    for key in ("dataset_path", "dataset_name", *_SCORED_SPLITS):
        value = settings.get(key)
        _expect(uri, key, value, value is None or isinstance(value, str))
    options = settings.get("dataset_kwargs") or {}
    _expect(uri, "dataset_kwargs", options, isinstance(options, dict), "a mapping")
    data_files = options.get("data_files")
    groups = data_files.values() if isinstance(data_files, dict) else [data_files or []]
    _expect(
        uri,
        "dataset_kwargs.data_files",
        data_files,
        all(_is_names(group) for group in groups),
        "a path, a list of paths, or those by split",
    )


def _expect(uri: str, key: str, value: Any, is_right: bool, rule: str = "a string") -> None:
    if not is_right:
        raise InputError(f"{uri}: {key} ({value!r}) must be {rule}; mend the file")


def _is_names(value: Any) -> bool:
    """Whether a value is a string or a list of strings."""
    names = value if isinstance(value, list) else [value]
    return all(isinstance(name, str) for name in names)


def task_sources(task: EvalTask) -> list[SourceConfig]:
    """Where the records of the splits that are scored can be read.

    The few-shot split is left out: its records are shown to the model with their answers.

    Raises:
        InputError: no split to score, or a data set given in a way that is not read here.
    """
    splits = dict.fromkeys(filter(None, map(task.settings.get, _SCORED_SPLITS)))
    if not splits:
        raise InputError(f"{task.uri} has no {' or '.join(_SCORED_SPLITS)}; add one")
    path, name = str(task.settings["dataset_path"]), task.settings.get("dataset_name")
    options = task.settings.get("dataset_kwargs") or {}
    data_files = options.get("data_files")
    is_ours = path in _OUR_FORMATS
    if options.keys() & {"data_dir", "field"} or (is_ours and not data_files):
        raise InputError(
            f"{task.uri}: dataset_kwargs ({', '.join(options) or 'absent'}) must say where the "
            f"records are by data_files alone; or give them as a .jsonl file as the set's path"
        )
    if not data_files:
        revision = str(options.get("revision") or "")
        chosen = [
            DatasetConfig(path=path, name=name, split=split, revision=revision) for split in splits
        ]
        return [SourceConfig(dataset=dataset) for dataset in chosen]
    named = [file for split in splits for file in _files_of_split(task, data_files, split)]
    files = tuple(dict.fromkeys(_locate(task.uri, file) for file in named))
    if is_ours:
        return [SourceConfig(inputs=files)]
    return [SourceConfig(dataset=DatasetConfig(path=path, name=name, data_files=files))]


def _files_of_split(task: EvalTask, data_files: Any, split: str) -> list[str]:
    """Files named for a split; those named for no split are every split's."""
    if isinstance(data_files, dict):
        if split not in data_files:
            raise InputError(
                f"{task.uri}: dataset_kwargs.data_files has no split {split!r}; "
                f"{nearest(split, data_files)}"
            )
        data_files = data_files[split]
    return [data_files] if isinstance(data_files, str) else list(data_files)


def _locate(task_uri: str, name: str) -> str:
    """A data file: beside the task file, else in the working directory, as the harness has it."""
    beside = _beside(task_uri, name)
    if "://" in name:
        return name
    for candidate in (beside, name):
        try:
            list_inputs(SourceConfig(inputs=(candidate,)))
        except InputError:
            continue
        return candidate
    return beside  # reading it fails and names the place


def _beside(uri: str, name: str) -> str:
    """A path in a task file, relative to the folder of that file."""
    return name if "://" in name else posixpath.join(posixpath.dirname(uri), name)


def _read_yaml(uri: str, including: tuple[str, ...]) -> dict[str, Any]:
    """A YAML file over the files it includes; its own keys win, of two includes the later one."""
    import yaml

    if uri in including:
        raise InputError(f"{uri} includes itself; take the `include` out")
    try:
        settings = yaml.load(storage.read_bytes(uri), Loader=_yaml_loader())
    except (FileNotFoundError, IsADirectoryError):
        by = f", included by {including[-1]}" if including else ""
        raise InputError(f"{uri}: no such file{by}; correct the path") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{uri} is not valid YAML ({error}); mend the file") from error
    except ValueError as error:
        raise InputError(f"{uri} cannot be opened ({error}); correct the path") from error
    if not isinstance(settings, dict):
        raise InputError(f"{uri} holds no mapping of keys to values; give a task file")
    includes = settings.pop("include", None) or []
    _expect(uri, "include", includes, _is_names(includes), "a path or a list of paths")
    merged: dict[str, Any] = {}
    for name in [includes] if isinstance(includes, str) else includes:
        merged |= _read_yaml(_beside(uri, name), (*including, uri))
    return merged | settings


def _yaml_loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML ships no types
        """Plain YAML, and `!function` as a name."""

    def function_name(loader: Loader, node: yaml.ScalarNode) -> FunctionName:
        return FunctionName(str(loader.construct_scalar(node)))

    Loader.add_constructor("!function", function_name)
    return Loader
