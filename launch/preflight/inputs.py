"""Corpora, evaluation sets and task data: are they there, and does the first record have a text?"""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from launch.config import TuneConfig
from launch.preflight.findings import Check, Finding, counted, ok, problem, shown_bytes
from launch.preflight.subject import Subject
from pipeline.decontamination.config import EvalSetConfig
from pipeline.errors import InputError
from pipeline.ingest.config import DatasetConfig, SourceConfig
from pipeline.ingest.extraction import Extracted, extract
from pipeline.ingest.readers import list_inputs, read_records
from synth.task_data.config import TaskSourceConfig

_BUILDERS = ("arrow", "csv", "json", "parquet", "text", "webdataset", "xml")
_RECORDS_TRIED = 20


def input_checks(subject: Subject, hub: str) -> Iterator[Check]:
    """A check for each source of ingest and of the tasks stage, and for each evaluation set.

    Args:
        subject: the run.
        hub: why the hub is out of reach; empty if it is not.
    """
    config = subject.config
    if (ingest := subject.ingest) is not None:
        for name, source in ingest.sources.items():
            look = partial(_corpus, name, source, ingest.max_record_bytes, hub)
            yield Check(f"corpus {name}", look)
        yield from _eval_set_checks(ingest.decontamination.sets)
    if isinstance(config, TuneConfig) and "tasks" in subject.pending:
        for name, task_source in config.tasks.sources.items():
            yield Check(f"tasks {name}", partial(_task_data, name, task_source, hub))
        yield from _eval_set_checks(config.tasks.decontamination.sets)


def _eval_set_checks(sets: dict[str, EvalSetConfig]) -> Iterator[Check]:
    for name, chosen in sets.items():
        yield Check(f"evaluation set {name}", partial(_eval_set, name, chosen))


def _corpus(name: str, source: SourceConfig, max_bytes: int, hub: str) -> Iterator[Finding]:
    check = f"corpus {name}"
    if missing := _needs_hub(check, source.dataset, hub):
        yield missing
        return
    try:
        files = list_inputs(source)
    except InputError as error:
        remedy = f"correct the paths in ingest.sources.{name}.inputs, or put the files there"
        yield problem(check, str(error), remedy)
        return
    size = "a data set"
    if source.dataset is None:
        size = f"{counted(len(files), 'file')}, {shown_bytes(sum(file.size for file in files))}"
    reasons = []
    for record in islice(read_records(source, files[0], 0, max_bytes), _RECORDS_TRIED):
        text = record.problem or extract(record.value or {}, source)
        if isinstance(text, Extracted):
            yield ok(check, f"{size}; a first text of {len(text.text):,} characters")
            return
        reasons.append(f"{text} (its fields: {', '.join(record.value or {}) or 'none'})")
    yield problem(
        check,
        f"{size}, but no text in the first {len(reasons)} records of {files[0].uri}: "
        f"{reasons[0] if reasons else 'it is empty'}",
        "name the fields that hold the text (text_field, text_template, question_field, ...), or "
        "leave that file out",
    )


def _task_data(name: str, source: TaskSourceConfig, hub: str) -> Iterator[Finding]:
    from synth.task_data.inputs import list_task_inputs, read_task_records

    check = f"tasks {name}"
    if missing := _needs_hub(check, source.dataset, hub):
        yield missing
        return
    files, _ = list_task_inputs(source)
    first = next(read_task_records(source, files[0]), None)
    if first is None or first.value is None:
        reason = "it is empty" if first is None else first.problem
        yield problem(check, f"{files[0].uri}: {reason}", "fetch that file again, or leave it out")
        return
    size = shown_bytes(sum(file.size for file in files))
    yield ok(check, f"{counted(len(files), 'file')}, {size}; the first record can be read")


def _eval_set(name: str, chosen: EvalSetConfig) -> Iterator[Finding]:
    from pipeline.decontamination.eval_sets import read_eval_texts

    check = f"evaluation set {name}"
    if next(read_eval_texts(name, chosen), None) is None:
        yield problem(check, f"{chosen.path} holds no record", "name another file, or leave it out")
    else:
        yield ok(check, f"{chosen.path} can be read")


def _needs_hub(check: str, dataset: DatasetConfig | None, hub: str) -> Finding | None:
    is_local = dataset is None or Path(dataset.path).exists() or dataset.path in _BUILDERS
    if dataset is None or is_local or not hub:
        return None
    return problem(
        check,
        f"the data set {dataset.path} is streamed from the hub, but {hub}",
        "run this where the hub answers, or download the data set and give its files as `inputs`",
    )
