"""The data stages of a tuning run on the real parts, without Ray: task data and their rows."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.opening import open_stage
from pipeline.packing.config import PackConfig
from pipeline.packing.worker import PackInputs, PackOrder, PackWorker
from pipeline.run_folder import RunFolder
from pipeline.stage import Manifest, read_commits, read_manifest
from synth.task_data.config import TasksConfig
from synth.task_data.job import run_tasks
from synth.wire import WireRenderer


def write_task_data(path: Path, contexts: Mapping[str, Sequence[str]]) -> str:
    """A file of the published collection's form: contexts by data set, one pair on each."""
    records = [
        {"context": text, "QA_list": [{"Q": "Who?", "A": "They"}], "QA_type": "qa", "rc_name": name}
        for name, texts in contexts.items()
        for text in texts
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def write_tasks(folder: RunFolder, inputs: str, examples_per_part: int = 4096) -> Manifest:
    """The complete tasks stage of a run."""
    sources = {"collection": {"inputs": [inputs], "format": "collection"}}
    values = {"sources": sources, "examples_per_part": examples_per_part}
    return run_tasks(TasksConfig.model_validate(values), folder.tasks)


def pack_tasks(folder: RunFolder, config: PackConfig) -> Manifest:
    """The complete packing stage of a run whose task data are there."""
    keys = {"tasks": read_manifest(folder.tasks).input_key()}
    stage = open_stage(folder.rows, "pack", config.model_dump(), keys)
    order = PackOrder(
        config, PackInputs(tasks=folder.tasks), folder.rows, stage.identity, WireRenderer()
    )
    names = [part.replace("/", "-tasks/") for part in read_commits(folder.tasks)]
    PackWorker(order)({"part": names})
    return stage.close(expected_parts=names)
