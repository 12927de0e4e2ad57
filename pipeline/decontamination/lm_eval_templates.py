r"""What a model is shown of a record by the templates of an lm-evaluation-harness task.

    doc_to_text: "Question: {{question}}\nA. {{a}}\nB. {{b}}\nAnswer:"
      ─▶ question ─▶ a ─▶ b                          each part of the record
      ─▶ question a b target                         all of them
      ─▶ Question: question A. a B. b Answer: target    as the model reads it

All three are looked for, as a copy may lie bare or in the layout of the task. The fixed wording
alone ("Answer with one of the following letters ...") is in most records and so left out later, as
too common. `doc_to_decontamination_query` comes before `doc_to_text`, and without a target.
"""

import ast
import re
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipeline.decontamination.eval_sets import (
    Record,
    field_names,
    nearest,
    record_texts,
    strings_in,
)
from pipeline.decontamination.lm_eval_tasks import EvalTask, FunctionName
from pipeline.errors import InputError

if TYPE_CHECKING:
    from jinja2 import Environment

# Around what a template takes from a record, so that it can be told from the fixed wording.
_OPEN, _CLOSE = "\x1e", "\x1f"


class TaskTemplates:
    """The templates of one task."""

    def __init__(self, task: EvalTask) -> None:
        """Take the templates of `task`; they are compiled when they are first used."""
        self._uri, self._settings = task.uri, task.settings

    def texts(self, records: Iterator[Record]) -> Iterator[list[str]]:
        """The texts of each record as the task shows it.

        Where that is up to a function of the task, all strings of the record are taken.

        Raises:
            InputError: a template that does not fit the records, or no text at all.
        """
        has_text = False
        for record in records:
            texts = dict.fromkeys(text.strip() for text in self._texts_of(record))
            texts.pop("", None)
            has_text = has_text or bool(texts)
            yield list(texts)
        if not has_text:
            raise InputError(
                f"{self._uri}: no text comes from the records; name the `fields` to protect"
            )

    def _texts_of(self, record: Record) -> list[str]:
        import jinja2

        query, shown = map(self._settings.get, ("doc_to_decontamination_query", "doc_to_text"))
        if not isinstance(query, str) and isinstance(shown, FunctionName):
            return record_texts(strings_in(record))
        try:
            if isinstance(query, str):
                return self._shown_texts(query, record, "")
            return self._shown_texts(shown, record, self._target(record))
        except jinja2.UndefinedError as error:
            if "process_docs" in self._settings:  # a function, whose new fields we do not have
                return record_texts(strings_in(record))
            missing = re.search(r"'(\w+)' is undefined", str(error))
            hint = nearest(missing[1], field_names(record)) if missing else "mend the template"
            raise InputError(f"{self._uri}: a template does not fit: {error}; {hint}") from error
        except InputError:
            raise
        except (
            *(jinja2.TemplateError, re.error, RecursionError, MemoryError),
            *(ArithmeticError, TypeError, ValueError, AttributeError, LookupError),
        ) as error:
            raise InputError(
                f"{self._uri}: a template fails ({error}) on record {str(record)[:120]}; "
                f"mend it, or name the `fields` to protect"
            ) from error

    def _shown_texts(self, template: Any, record: Record, target: str) -> list[str]:
        """The parts of the record that a template shows, and how they stand together."""
        if not isinstance(template, str) or template in record:
            shown = record[template] if isinstance(template, str) else template
            parts = strings_in(self._option(shown, record))
            return [*parts, " ".join([*parts, target])]
        if template.isidentifier():
            if "process_docs" in self._settings:
                return record_texts(strings_in(record))
            raise InputError(
                f"{self._uri}: no field {template!r}; {nearest(template, field_names(record))}"
            )
        marked = self._marking.from_string(template).render(**record)
        rendered, parts = _split_marked(marked)
        if isinstance(option := self._option(rendered, record), str):
            rendered = option
        if not parts and not target:  # fixed wording, and nothing of the record
            return []
        return [*parts, " ".join([*parts, target]), f"{rendered} {target}"]

    def _target(self, record: Record) -> str:
        """The expected answer; of several the first."""
        targets = self._option(self._value("doc_to_target", record), record)
        return next(iter(strings_in(targets)), "")

    def _option(self, value: Any, record: Record) -> Any:
        """The choice that a number stands for, in a task with choices; any other value as it is."""
        number = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
        if not isinstance(number, int):
            return value
        options = self._value("doc_to_choice", record)
        options = list(options.values()) if isinstance(options, dict) else options
        is_option = isinstance(options, list) and 0 <= number < len(options)
        return options[number] if is_option else str(value)

    def _value(self, key: str, record: Record) -> Any:
        """A setting for a record: a field's value, a rendered template, or what stands there."""
        setting = self._settings.get(key)
        if not isinstance(setting, str):
            return setting
        if setting in record:
            return record[setting]
        rendered = self._plain.from_string(setting).render(**record)
        if rendered.startswith("[") and rendered.endswith("]"):
            try:
                return ast.literal_eval(rendered)
            except (SyntaxError, ValueError):
                return rendered
        return rendered

    @cached_property
    def _plain(self) -> "Environment":
        return _environment()

    @cached_property
    def _marking(self) -> "Environment":
        environment = _environment()
        environment.finalize = lambda value: f"{_OPEN}{'' if value is None else value}{_CLOSE}"
        return environment


def _environment() -> "Environment":
    """Jinja as the harness sets it up, in a sandbox: a task file may come from anywhere."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.filters["regex_replace"] = lambda text, pattern, new, count=0: re.sub(
        pattern, new, text, count=count
    )
    return environment


def _split_marked(marked: str) -> tuple[str, list[str]]:
    """A rendered template without its marks, and the marked parts alone; marks may be nested."""
    rendered, parts, depth = [], [], 0
    for piece in re.split(f"([{_OPEN}{_CLOSE}])", marked):
        if piece in (_OPEN, _CLOSE):
            depth += 1 if piece == _OPEN else -1
            continue
        rendered.append(piece)
        if depth > 0 and piece.strip():
            parts.append(piece.strip())
    return "".join(rendered), parts
