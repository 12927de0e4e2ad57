"""Strict, frozen configuration: one TOML a run, overrides `section.key=value` on top.

Precedence: defaults < file < command line. An unknown key is an error that names its nearest
neighbour; no validator changes a sibling; derived values are functions, not stored fields.
"""

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import InputError
from pipeline.redaction import refuse_credentials


class StrictConfig(BaseModel):
    """Base of every config section: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


ConfigT = TypeVar("ConfigT", bound=StrictConfig)


def load_config(kind: type[ConfigT], path: str | Path, overrides: Sequence[str] = ()) -> ConfigT:
    """Read a TOML file, apply `section.key=value` overrides, validate.

    Raises:
        InputError: no such file, not TOML, an unknown key or a value out of its range.
    """
    return validate(kind, read_toml(path, overrides), str(path))


def read_toml(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a TOML file as a dict and apply overrides, without validation.

    Raises:
        InputError: no such file, not TOML, or an override not of the form `section.key=value`.
    """
    try:
        raw = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"config {path} cannot be read: {error}") from error
    try:
        values = tomllib.loads(raw)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"config {path} is not valid TOML: {error}") from error
    for override in overrides:
        _apply_override(values, override)
    return values


def validate(kind: type[ConfigT], values: dict[str, Any], origin: str) -> ConfigT:
    """Build a config from a dict; `origin` names the file in error messages.

    Raises:
        InputError: listing every offending key with its value and the rule it breaks; or a URI
            holds credentials.
    """
    try:
        refuse_credentials(values)
        return kind.model_validate(values)
    except InputError as error:
        raise InputError(f"config {origin}:\n  {error}") from None
    except ValidationError as error:
        lines = [_explain(kind, dict(problem)) for problem in error.errors()]
        raise InputError(f"config {origin}:\n  " + "\n  ".join(lines)) from error


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested dicts to dotted keys: `{"a": {"b": 1}}` -> `{"a.b": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _apply_override(values: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    keys = dotted.strip().split(".")
    if not equals or not all(keys):
        raise InputError(
            f"override {override!r} must have the form section.key=value, "
            f"for example train.num_steps=100"
        )
    target = values
    for depth, key in enumerate(keys[:-1]):
        target = target.setdefault(key, {})
        if not isinstance(target, dict):
            raise InputError(
                f"override {override!r}: {'.'.join(keys[: depth + 1])} is a value, not a section"
            )
    target[keys[-1]] = _parse_toml_value(text.strip())


def _parse_toml_value(text: str) -> Any:
    """Read the right-hand side as TOML; what is no TOML value is taken as a plain string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _explain(kind: type[BaseModel], problem: dict[str, Any]) -> str:
    location = [str(part) for part in problem["loc"]]
    dotted = ".".join(location) or "the sections together"
    if problem["type"] != "extra_forbidden":
        # What stands where a variable should be named may be its value.
        is_hidden = isinstance(problem["input"], dict) or dotted.endswith("_env")
        found = "" if is_hidden else f" = {problem['input']!r}"
        return f"{dotted}{found}: {problem['msg']}"
    known = _fields_at(kind, location[:-1])
    near = difflib.get_close_matches(location[-1], known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}"
    return f"{dotted}: unknown key; {hint}"


def _fields_at(kind: type[BaseModel], location: list[str]) -> list[str]:
    """Names of the fields of the section at `location`."""
    current: Any = kind
    for key in location:
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(key)
            current = field.annotation if field else None
        else:  # a key of a mapping or an index of a list
            current = next(iter(reversed(getattr(current, "__args__", ()))), None)
    section = _section_in(current)
    return list(section.model_fields) if section else []


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The config section that an annotation such as `Section | None` allows."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if getattr(annotation, "__origin__", None) is dict:
        return None
    candidates = map(_section_in, getattr(annotation, "__args__", ()))
    return next((candidate for candidate in candidates if candidate), None)
