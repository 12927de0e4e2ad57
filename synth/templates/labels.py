"""Marks before options: bullets, or letters and numbers in a decoration.

decoration "({s}) "  x  symbols A, a, 1, I, i   ->   "(A) ", "(a) ", "(1) ", "(I) ", "(i) "
"""

from collections.abc import Iterable
from dataclasses import dataclass

from synth.templates.patterns import Around

UPPER = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
LOWER = tuple("abcdefghijklmnopqrstuvwxyz")
NUMBERS = tuple(str(number) for number in range(1, 27))
_TENS, _ONES = ("", "X", "XX"), ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")
ROMAN = tuple(tens + ones for tens in _TENS for ones in _ONES)[1:27]
LOWER_ROMAN = tuple(symbol.lower() for symbol in ROMAN)

Symbols = tuple[str, ...]
SYSTEMS: tuple[Symbols, ...] = (UPPER, LOWER, NUMBERS, ROMAN, LOWER_ROMAN)


@dataclass(frozen=True, slots=True)
class LabelStyle:
    """How options are marked. Without symbols all marks are alike and an answer is the option."""

    label: Around
    answer: Around
    symbols: Symbols = ()

    def with_symbols(self, symbols: Symbols) -> "LabelStyle":
        """The same decoration around other symbols; a bullet becomes `A.`."""
        decorated = self if self.symbols else _LETTERED
        return LabelStyle(decorated.label, decorated.answer, symbols)

    def suits(self, options: tuple[str, ...]) -> bool:
        """Whether the marks tell these options apart.

        They do not if they run out, or if an option is itself one of them: with "1. 2" and
        "2. 1", an answer "2" says nothing.
        """
        count = len(options)
        if count > len(self.symbols):
            return not self.symbols
        if min(map(len, options)) > _LONGEST_SYMBOL:
            return True
        marks = {symbol.casefold() for symbol in self.symbols[:count]}
        return all(option.strip(" ()[].:").casefold() not in marks for option in options)

    def lines(self, options: tuple[str, ...]) -> list[str]:
        """The options with their marks."""
        before, after = self.label.before, self.label.after
        if not self.symbols:
            return [before + option for option in options]
        return [
            before + symbol + after + option
            for symbol, option in zip(self.symbols, options, strict=False)
        ]

    def answer_to(self, options: tuple[str, ...], right: str) -> str:
        """What answers a question whose right option is `right`."""
        if not self.symbols or right not in options:
            return right
        return self.answer.before + self.symbols[options.index(right)] + self.answer.after


_LONGEST_SYMBOL = len("(xviii).")
_LETTERED = LabelStyle(Around("", ". "), Around("", ""), UPPER)
_NOTHING = Around("", "")
PLAIN_BULLET = LabelStyle(Around("- ", ""), _NOTHING)
NO_MARK = LabelStyle(_NOTHING, _NOTHING)


def bullet_styles(bullets: Iterable[str]) -> tuple[LabelStyle, ...]:
    """A style for each bullet."""
    return tuple(LabelStyle(Around(bullet, ""), _NOTHING) for bullet in bullets)


def label_styles(decorations: Iterable[tuple[Around, Around]]) -> tuple[LabelStyle, ...]:
    """A style for each decoration (of label and answer) and system of symbols."""
    return tuple(
        LabelStyle(label, answer, symbols) for label, answer in decorations for symbols in SYSTEMS
    )
