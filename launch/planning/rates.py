"""Rates by name, each with where it comes from; what rests on an assumption says so.

rates.toml ─┐
            ├─▶ Rates ─▶ RateReader of a stage: values, and what the stage's figures rest on
a run ──────┘            (`launch.planning.measured`)
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from pipeline.config import StrictConfig, validate
from pipeline.errors import InputError

SHIPPED = Path(__file__).with_name("rates.toml")
_TABLES = ("gpus", "parameters", "vocabularies")

Basis = Literal["this run", "carried over", "assumed"]
"""What a figure rests on: rates of the run that was given, rates measured by this project on other
machines, or at least one that was not measured by it."""


class Rate(StrictConfig):
    """One figure and its origin."""

    value: float = Field(ge=0)
    """In `unit`."""
    unit: str
    """Of the value."""
    kind: Literal["measured", "published", "assumed"]
    """By this project, by others, by nobody."""
    on: str = ""
    """Measured: hardware and circumstances."""
    source: str = ""
    """Measured: the command; published: who says so."""
    why: str = ""
    """Published or assumed: what is taken for true, as a sentence."""
    parameters: float = Field(default=0, ge=0)
    """Of the model that the rate is of; 0: of none in particular."""
    is_own: bool = False
    """Measured in the run whose rates were asked for."""

    @model_validator(mode="after")
    def _says_its_origin(self) -> "Rate":
        needed = {
            "measured": ("on", "source"),
            "published": ("source", "why"),
            "assumed": ("why",),
        }[self.kind]
        if missing := [name for name in needed if not getattr(self, name)]:
            raise ValueError(f"a rate that is {self.kind} needs {' and '.join(missing)}")
        if self.kind != "measured" and (self.on or self.is_own):
            raise ValueError(f"a rate that is {self.kind} was measured on nothing; leave out `on`")
        return self


@dataclass(frozen=True)
class Rates:
    """All rates, and what is known of devices and models."""

    by_name: Mapping[str, Rate]
    gpus: Mapping[str, str] = field(default_factory=dict)
    """Name for `train.accelerators` by name for `--gpu`."""
    parameters: Mapping[str, float] = field(default_factory=dict)
    """Elements of models whose names do not say it."""
    vocabularies: Mapping[str, int] = field(default_factory=dict)
    """Words by tokenizer."""
    origin: str = "shipped"
    """`shipped`, or the folder of the run that measured."""

    def with_own(self, own: Mapping[str, Rate], origin: str) -> "Rates":
        """These, and in their place what a run has measured."""
        return replace(self, by_name={**self.by_name, **own}, origin=origin)

    def lines(self) -> Iterator[str]:
        """A line a rate, with its origin."""
        width = max(map(len, self.by_name))
        for name, rate in self.by_name.items():
            said = rate.why or f"{rate.on}; {rate.source}"
            yield f"{name:<{width}}  {rate.value:<12.6g} {rate.kind:<9}  {rate.unit}: {said}"


class RateReader:
    """Hands out rates to one estimate, and notes what it rests on."""

    def __init__(self, rates: Rates) -> None:
        """Read from some rates."""
        self._rates = rates
        self._used: dict[str, Rate] = {}
        self._notes: dict[str, None] = {}

    def __call__(self, name: str) -> float:
        """The value of a rate; it counts as used."""
        rate = self._used[name] = self._rates.by_name[name]
        return rate.value

    def rate(self, name: str) -> Rate:
        """A rate with its origin; it counts as used."""
        self(name)
        return self._used[name]

    def has(self, name: str) -> bool:
        """Whether there is such a rate; it does not count as used."""
        return name in self._rates.by_name

    def assume(self, sentence: str) -> None:
        """Note something that the estimate takes for true and nobody measured."""
        self._notes[sentence] = None

    @property
    def assumptions(self) -> list[str]:
        """What is taken for true, a sentence each."""
        said = [rate.why for rate in self._used.values() if rate.kind != "measured"]
        return list(dict.fromkeys([*said, *self._notes]))

    @property
    def carried_over(self) -> list[str]:
        """Names of rates that were measured, but elsewhere."""
        return [n for n, rate in self._used.items() if rate.kind == "measured" and not rate.is_own]

    @property
    def basis(self) -> Basis:
        """The weakest of what the estimate rests on."""
        if self.assumptions:
            return "assumed"
        return "carried over" if self.carried_over else "this run"


def load_rates(path: Path = SHIPPED) -> Rates:
    """Read a table of rates.

    Raises:
        InputError: a rate without origin, or a table that is not known.
    """
    tables = tomllib.loads(path.read_text("utf-8"))
    known = {name: tables.pop(name, {}) for name in _TABLES}
    by_name: dict[str, Rate] = {}
    for group, rates in tables.items():
        for name, values in rates.items():
            if not isinstance(values, dict):
                raise InputError(f"{path.name}: {group}.{name} must be a table with value and kind")
            by_name[f"{group}.{name}"] = validate(Rate, values, f"{path.name} {group}.{name}")
    return Rates(by_name=by_name, **known)


def own_rate(value: float, unit: str, run: str, **more: Any) -> Rate:
    """A rate that a run has measured."""
    source = f"ipt plan CONFIG --rates {run}"
    return Rate(value=value, unit=unit, kind="measured", on=run, source=source, is_own=True, **more)
