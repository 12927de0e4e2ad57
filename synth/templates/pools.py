"""The pools of phrasings: TOML files beside this code, read and checked once, then frozen.

To write your own, copy files of `pools/` into a folder, change them, and name the folder in
`pack.template_folder`; a file of the same name replaces the one shipped here. The pools are written
anew after the kinds and shares of those of Instruction Pre-Training (Cheng et al. 2024, arXiv
2406.14491).
"""

import functools
import hashlib
import tomllib
from collections.abc import Hashable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pipeline.config import StrictConfig, validate
from pipeline.errors import InputError
from synth.templates.labels import LabelStyle, bullet_styles, label_styles
from synth.templates.patterns import (
    Around,
    ByNumber,
    Frame,
    around,
    by_number,
    counted_frame,
    cut,
    frame,
    line_frame,
)

SHIPPED = Path(__file__).parent / "pools"

Mode = Literal["classic", "dialogue", "numbered", "few_shot", "next_turn"]
EntryT = TypeVar("EntryT", bound=Hashable)
ConfigT = TypeVar("ConfigT", bound=StrictConfig)


def _distinct(entries: tuple[EntryT, ...]) -> tuple[EntryT, ...]:
    if not entries:
        raise ValueError("needs an entry to draw")
    if len(set(entries)) < len(entries):
        repeated = next(entry for entry in entries if entries.count(entry) > 1)
        raise ValueError(f"{repeated!r} stands here twice")
    return entries


def _literal(text: str) -> str:
    cut(text)  # refuses placeholders
    return text


def _answer_lead(pattern: str) -> str:
    lead = around(pattern, "a")
    if lead.after:
        raise ValueError(f"{pattern!r} must end with {{a}}: an answer brings its own full stop")
    return lead.before


Pool = Annotated[tuple[EntryT, ...], AfterValidator(_distinct)]
Share = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, AfterValidator(_literal)]
Line = Annotated[ByNumber, BeforeValidator(by_number)]
AnyFrame = Annotated[Frame, BeforeValidator(frame)]
CountedFrame = Annotated[Frame, BeforeValidator(counted_frame)]
LineFrame = Annotated[Frame, BeforeValidator(line_frame)]
"""Options may end the question, so a line end follows it."""


def _item(name: str) -> BeforeValidator:
    return BeforeValidator(lambda pattern: frame(pattern, "n", name))


class Modes(StrictConfig):
    """Which mode is drawn how often."""

    inverted_share: Share
    """Share of examples whose pairs stand before the text."""
    several: dict[Mode, float]
    """Weights where every text has two pairs or more."""
    otherwise: dict[Mode, float]
    """Weights where some text has fewer."""

    @model_validator(mode="after")
    def _drawable(self) -> "Modes":
        for name, weights in (("several", self.several), ("otherwise", self.otherwise)):
            if min(weights.values(), default=0) < 0 or sum(weights.values()) <= 0:
                raise ValueError(f"{name} {weights} must hold weights >= 0, one of them above 0")
        if few := self.otherwise.keys() - {"classic", "dialogue"}:
            raise ValueError(f"otherwise names {', '.join(sorted(few))}, which take two pairs")
        return self


class Readings(StrictConfig):
    """How a text is announced."""

    bare_share: Share
    """Share of examples whose texts are not announced."""
    patterns: Pool[Annotated[Around, BeforeValidator(lambda pattern: around(pattern, "text"))]]
    """Around `{text}`."""


class Comprehension(StrictConfig):
    """The line that leads from a text to its pairs."""

    empty_share: Share
    """Share of examples without such a line."""
    anywhere: Pool[Line]
    """Fits whichever comes first."""
    text_first: Pool[Line]
    """The text has been read."""
    pairs_first: Pool[Line]
    """The text follows the pairs."""


class Questions(StrictConfig):
    """How a question and its answer are written, by kind of pair."""

    plain: Pool[AnyFrame]
    """Neither options nor reasoning."""
    choice: Pool[LineFrame]
    """Options."""
    reasoned: Pool[LineFrame]
    """Reasoning."""
    reasoned_choice: Pool[LineFrame]
    """Both."""


class Reasoning(StrictConfig):
    """What stands around a chain of thought."""

    cues: Pool[Text]
    """Lines after the question; an empty one is none."""
    answer_leads: Pool[Annotated[str, BeforeValidator(_answer_lead)]]
    """From the reasoning to the answer."""


class Label(StrictConfig):
    """A decoration of a letter or a number."""

    label: Annotated[Around, BeforeValidator(lambda pattern: around(pattern, "s"))]
    """Before the option."""
    answer: Annotated[Around, BeforeValidator(lambda pattern: around(pattern, "s"))]
    """As the answer."""


class Options(StrictConfig):
    """How options are shown."""

    intros: Pool[Text]
    """Lines before the options; an empty one is none."""
    bullets: Pool[Text]
    """Marks that do not tell options apart."""
    labels: Pool[Label]
    """Marks that do, combined with every system of symbols."""

    @functools.cached_property
    def styles(self) -> tuple[LabelStyle, ...]:
        """Bullets, and every decoration with every system of symbols."""
        labels = [(entry.label, entry.answer) for entry in self.labels]
        return (*bullet_styles(self.bullets), *label_styles(labels))


class Dialogue(StrictConfig):
    """Pairs as a conversation."""

    intros: Pool[Text]
    """The opening line."""
    speakers: Pool[tuple[Text, Text]]
    """Who asks and who answers."""
    turns: Pool[Annotated[Frame, BeforeValidator(lambda pattern: frame(pattern, "name", "says"))]]
    """How a turn is written."""


class NumberedList(StrictConfig):
    """All questions as a list, then all answers."""

    questions: Text
    """Heads the questions."""
    question: Annotated[Frame, _item("q")]
    """One of them."""
    answers: Text
    """Heads the answers."""
    answer: Annotated[Frame, _item("a")]
    """One of them."""


class NextTurn(StrictConfig):
    """A conversation whose last answer is to be written."""

    opening: Text
    """Before the conversation."""
    request: Text
    """Before the last answer."""


class FewShot(StrictConfig):
    """Solved examples, then one more to solve."""

    intro: Text
    """Before the examples."""
    example: CountedFrame
    """A solved one; may hold `{n}` before `{q}`."""
    last: LineFrame
    """The last one."""


class NumberedLists(StrictConfig):
    """Forms of the numbered mode."""

    patterns: Pool[NumberedList]
    """One is drawn an example."""


class NextTurns(StrictConfig):
    """Forms of the next-turn mode."""

    patterns: Pool[NextTurn]
    """One is drawn an example."""


class FewShots(StrictConfig):
    """Forms of the few-shot mode."""

    patterns: Pool[FewShot]
    """One is drawn an example."""


@dataclass(frozen=True, slots=True)
class Pools:
    """All pools; a field is a file. Nothing in here ever changes."""

    modes: Modes
    readings: Readings
    comprehension: Comprehension
    questions: Questions
    reasoning: Reasoning
    options: Options
    dialogue: Dialogue
    numbered: NumberedLists
    next_turn: NextTurns
    few_shot: FewShots

    def fingerprint(self) -> str:
        """Hash of everything that can be drawn: 16 hex digits, for the identity of a stage."""
        content = {file.name: getattr(self, file.name).model_dump() for file in fields(self)}
        return hashlib.blake2b(orjson.dumps(content), digest_size=8).hexdigest()


@functools.cache
def shipped_pools() -> Pools:
    """The pools of this package."""
    return load_pools()


def load_pools(folder: str = "") -> Pools:
    """The shipped pools, with the files of `folder` in place of theirs.

    Args:
        folder: folder of TOML files named as those shipped; empty: none.

    Raises:
        InputError: no pool file in `folder`, an unknown file, or one that breaks a rule.
    """
    known: dict[str, Any] = {file.name: file.type for file in fields(Pools)}
    paths = {name: SHIPPED / f"{name}.toml" for name in known}
    if folder:
        own = {path.stem: path for path in sorted(Path(folder).expanduser().glob("*.toml"))}
        if not own or own.keys() - known.keys():
            raise InputError(
                f"template folder {folder!r} holds {', '.join(own) or 'no .toml file'}; "
                f"it may hold: {', '.join(known)}"
            )
        paths |= own
    return Pools(**{name: _read(kind, paths[name]) for name, kind in known.items()})


def _read(kind: type[ConfigT], path: Path) -> ConfigT:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"pool {path} cannot be read: {error}") from error
    return validate(kind, values, str(path))
