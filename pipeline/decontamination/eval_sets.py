"""Evaluation sets as texts: the strings of each record that a model must not have been trained on.

set.jsonl, set.json, set.parquet ──fields────▶ [question, choice, choice, ..., all of them]
task.yaml of lm-evaluation-harness ──templates──▶ [what the model is asked, the same + target]
"""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

from pipeline.decontamination.config import EvalSetConfig
from pipeline.errors import InputError
from pipeline.ingest.config import SourceConfig
from pipeline.ingest.readers import list_inputs, read_records

_MAX_RECORD_BYTES = 2**28
_RECORDS_LOOKED_AT = 1000

Record = dict[str, Any]


def read_eval_texts(name: str, config: EvalSetConfig) -> Iterator[list[str]]:
    """Stream the texts of each record of an evaluation set, in order of files and lines.

    Raises:
        InputError: nothing there, a record that cannot be read, or a field that no record has.
    """
    try:
        if not config.path.endswith((".yaml", ".yml")):
            source = SourceConfig(inputs=(config.path,))
            yield from _field_texts(_read_sources([source]), config.fields)
            return
        from pipeline.decontamination.lm_eval_tasks import read_task, task_sources
        from pipeline.decontamination.lm_eval_templates import TaskTemplates

        task = read_task(config.path)
        records = _read_sources(task_sources(task))
        if config.fields:
            yield from _field_texts(records, config.fields)
        else:
            yield from TaskTemplates(task).texts(records)
    except InputError as error:
        raise InputError(f"decontamination.sets.{name}: {error}") from error


def _read_sources(sources: Iterable[SourceConfig]) -> Iterator[Record]:
    """All records of some sources. An evaluation set with a hole protects nothing: no bad record.

    Raises:
        InputError: a record that cannot be read; names file and line.
    """
    for source in sources:
        for file in list_inputs(source):
            for record in read_records(source, file, 0, _MAX_RECORD_BYTES):
                if record.value is not None:
                    yield record.value
                elif record.problem != "blank_line":
                    raise InputError(
                        f"{record.file} line {record.line} is no record ({record.problem}): "
                        f"{record.excerpt[:80]!r}; mend the line or leave the file out"
                    )


def strings_in(value: Any) -> list[str]:
    """Every string in a value: itself, or those of its lists and objects, however deep."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return []
    return [text for each in value for text in strings_in(each)]


def record_texts(strings: list[str]) -> list[str]:
    """What to look for of a record: each string, and all in a row, as short ones may add up."""
    return [*strings, " ".join(strings)] if len(strings) > 1 else strings


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not among those known."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known) or 'none'}"


def field_names(record: Record, prefix: str = "") -> set[str]:
    """Names by which the values of a record can be chosen, `choices.text` for nested ones."""
    names = set()
    for key, value in record.items():
        names.add(f"{prefix}{key}")
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                names |= field_names(each, f"{prefix}{key}.")
    return names


def _field_texts(records: Iterator[Record], fields: tuple[str, ...]) -> Iterator[list[str]]:
    unseen, known, has_text = set(fields), set[str](), False
    for number, record in enumerate(records):
        if number < _RECORDS_LOOKED_AT:
            known |= field_names(record)
        strings = [] if fields else strings_in(record)
        for field in fields:
            values = _values_at(record, field)
            if values:
                unseen.discard(field)
            strings += strings_in(values)
        has_text = has_text or any(text.strip() for text in strings)
        yield record_texts(strings)
    if unseen and known:
        field = min(unseen)
        raise InputError(f"fields: no record has {field!r}; {nearest(field, known)}")
    if not has_text:
        raise InputError("there is no text in it at all; name another path, or leave the set out")


def _values_at(value: Any, name: str) -> list[Any]:
    """Values under a dotted name; a list on the way stands for each of its items."""
    if isinstance(value, list):
        return [found for each in value for found in _values_at(each, name)]
    if not isinstance(value, dict):
        return []
    if name in value:
        return [value[name]]
    key, _, rest = name.partition(".")
    return _values_at(value[key], rest) if rest and key in value else []
