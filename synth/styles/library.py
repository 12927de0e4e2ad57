"""What an instruct model can be asked for: a library of task styles, one TOML each.

A style says what kind of pairs it brings, how they are asked for, and shows one example. To make
your own, copy a file of this folder into one of yours, change it, name the folder in
`synth.style_folder`; a file of the same name replaces the one shipped here.
"""

import hashlib
import random
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import orjson
from pydantic import Field, model_validator

from pipeline.config import StrictConfig, validate
from pipeline.contracts import Pair, PairKind
from pipeline.errors import InputError

SHIPPED = Path(__file__).parent


class ExamplePair(StrictConfig):
    """A pair as the model should write it."""

    instruction: str = Field(min_length=1)
    """What is asked."""
    response: str = Field(min_length=1)
    """The answer."""
    options: tuple[str, ...] = ()
    """Multiple choice only."""
    reasoning: str = ""
    """Chain of thought only."""


class StyleExample(StrictConfig):
    """A text and its pairs, shown to the model before the first request of this style."""

    text: str = Field(min_length=1)
    """The passage."""
    pairs: tuple[ExamplePair, ...] = Field(min_length=1)
    """What a good model writes about it."""


class Style(StrictConfig):
    """One way of asking for pairs."""

    about: str
    """One line for people."""
    request: str
    """What the model is asked; `{count}` stands for the number of pairs, `{spans}` for the
    answers given."""
    kind: PairKind = "free_form"
    """Kind of the pairs."""
    weight: float = Field(default=1, ge=0)
    """Share of documents, relative to the other styles, where the config gives no weights."""
    pairs: tuple[int, int] = (2, 4)
    """Fewest and most pairs to ask for."""
    labels: tuple[str, ...] = ()
    """Options of every pair; empty: the model writes options itself."""
    answers: Literal["written", "spans"] = "written"
    """`written`: by the model; `spans`: copied from the passage before the model is asked."""
    openers: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """`spans` only: first words of an English question, by kind of answer (`synth.styles.spans`:
    `year`, `number`, `name`, `clause`)."""
    min_question_support: float = Field(default=0, ge=0, le=1)
    """Least share of an instruction's content words that stand in the passage, for styles whose
    instructions name what they ask about."""
    min_support: float | None = Field(default=None, ge=0, le=1)
    """Least share of a response's content words that stand in the passage, where the style asks for
    other words than the passage's and `checks.grounding.min_support` would be too strict."""
    is_linked: bool = False
    """Each pair builds on the one before: a dropped one takes those after it along."""
    example: StyleExample
    """Shown to the model."""

    @model_validator(mode="after")
    def _consistent(self) -> "Style":
        fewest, most = self.pairs
        if not 1 <= fewest <= most:
            raise ValueError(f"pairs {list(self.pairs)} must be [fewest, most] with 1 <= fewest")
        if (self.answers == "spans") != ("{spans}" in self.request):
            raise ValueError("a request holds {spans} if and only if answers = 'spans'")
        if self.answers == "spans" and self.kind != "free_form":
            raise ValueError("answers = 'spans' goes with kind = 'free_form' only")
        if self.labels and not self.kind.startswith("multiple_choice"):
            raise ValueError("labels go with multiple-choice kinds only")
        for pair in self.example.pairs:
            self._check_example(pair)
        return self

    def _check_example(self, pair: ExamplePair) -> None:
        options = self.labels or pair.options
        if self.kind.startswith("multiple_choice") != bool(options):
            raise ValueError(f"example {pair.instruction!r}: kind {self.kind} and options disagree")
        if options and pair.response not in options:
            raise ValueError(f"example {pair.instruction!r}: the response is none of the options")
        is_reasoned = self.kind in ("chain_of_thought", "multiple_choice_cot")
        if is_reasoned != bool(pair.reasoning):
            raise ValueError(
                f"example {pair.instruction!r}: kind {self.kind} and reasoning disagree"
            )
        if self.answers == "spans" and pair.response not in self.example.text:
            raise ValueError(f"example {pair.instruction!r}: the response is not in the passage")

    def example_pairs(self) -> tuple[Pair, ...]:
        """The example's pairs in the form of the contract."""
        return tuple(
            Pair(
                pair.instruction, pair.response, self.kind, self.labels or pair.options,
                pair.reasoning,
            )
            for pair in self.example.pairs
        )  # fmt: skip

    def fingerprint(self) -> str:
        """Hash of all that the model is shown: 16 hex digits, kept as provenance of each text."""
        return hashlib.blake2b(
            orjson.dumps(self.model_dump(exclude={"weight", "about"})), digest_size=8
        ).hexdigest()


@dataclass(frozen=True)
class StyleLibrary:
    """The styles of a run and how often each is drawn."""

    styles: Mapping[str, Style]
    """By name, in name order."""
    weights: Mapping[str, float]
    """The same names; not all 0."""

    def draw(self, stream: random.Random) -> str:
        """Name of a style, from one document's random stream."""
        return stream.choices(list(self.weights), list(self.weights.values()))[0]

    def fingerprints(self) -> dict[str, str]:
        """What decides the output, for the stage's identity: hash and weight of each style."""
        return {
            name: f"{style.fingerprint()} x {self.weights[name]:g}"
            for name, style in self.styles.items()
        }


def load_library(folder: str, weights: Mapping[str, float]) -> StyleLibrary:
    """The shipped styles and those of `folder` (if any), drawn by `weights`.

    Args:
        folder: folder of TOML files beside, or in place of, those shipped; empty: none.
        weights: share by style name; empty: all styles with the weights in their files.

    Raises:
        InputError: no such folder, a file that is no style, or a weight for an unknown style.
    """
    paths = {path.stem: path for path in sorted(SHIPPED.glob("*.toml"))}
    if folder:
        own = sorted(Path(folder).expanduser().glob("*.toml"))
        if not own:
            raise InputError(
                f"synth.style_folder {folder!r} holds no .toml file; name a folder of styles"
            )
        paths |= {path.stem: path for path in own}
    if unknown := sorted(weights.keys() - paths.keys()):
        raise InputError(f"synth.styles names {', '.join(unknown)}; styles are: {', '.join(paths)}")
    styles = {
        name: _read_style(paths[name]) for name in sorted(paths) if not weights or weights.get(name)
    }
    drawn = {
        name: weights.get(name, style.weight) if weights else style.weight
        for name, style in styles.items()
    }
    if not any(drawn.values()):
        raise InputError(
            "the weights of all styles are 0; give one of synth.styles a weight above 0"
        )
    return StyleLibrary(styles, drawn)


def _read_style(path: Path) -> Style:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"style {path} cannot be read: {error}") from error
    return validate(Style, values, str(path))
