"""What a text says, looked up quickly: built once, asked for every pair of the text."""

from collections.abc import Sequence
from functools import cached_property

from synth.quality.numbers import is_magnitude_of, number_mentions, numbers_of_text, value_of_word
from synth.quality.words import content_units, fold, is_unspaced, split_words, unspaced_bigrams


class TextIndex:
    """Words, spans, content units and numbers of one text; each part is built on first use."""

    def __init__(self, text: str) -> None:
        """Keep the text; nothing is computed yet."""
        self.text = text

    @cached_property
    def words(self) -> list[str]:
        """The text's words in order, as `split_words` gives them."""
        return split_words(self.text)

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        """The set of the text's words."""
        return frozenset(self.words)

    @cached_property
    def units(self) -> frozenset[str]:
        """The set of the text's content units, and of all its unspaced bigrams."""
        units = frozenset(content_units(self.words))
        return units if self.text.isascii() else units.union(unspaced_bigrams(self.words))

    @cached_property
    def numbers(self) -> frozenset[str]:
        """Every reading of every number in the text."""
        return numbers_of_text(fold(self.text), self.words)

    @cached_property
    def folded(self) -> str:
        """The text in one line, folded, with straight apostrophes."""
        return " ".join(fold(self.text).replace("\u2019", "'").split())

    @cached_property
    def _joined(self) -> str:
        return f" {' '.join(self.words)} "

    def copies(self, words: Sequence[str]) -> bool:
        """Whether these words stand in the text in this order, whatever is between them.

        Case, width, punctuation and line breaks do not matter; no words are no copy.
        """
        return bool(words) and f" {' '.join(words)} " in self._joined

    def support(self, words: Sequence[str]) -> float | None:
        """Share of the distinct content units of `words` that the text holds, in 0..1.

        A bigram of an unspaced script counts half where only its two characters occur. A number
        counts if the text has it in any form. None: `words` hold no content unit.
        """
        units = set(content_units(words))
        if not units:
            return None
        missing = units - self.units
        return (len(units) - len(missing) + sum(map(self._partial, missing))) / len(units)

    def _partial(self, unit: str) -> float:
        if is_unspaced(unit[0]):
            return 0.5 if all(character in self.vocabulary for character in unit) else 0.0
        if unit[0].isdigit():
            mentions = number_mentions(unit) or [frozenset({unit})]
            return 1.0 if all(mention & self.numbers for mention in mentions) else 0.0
        if is_magnitude_of(unit, self.numbers):
            return 1.0
        return 1.0 if (value_of_word(unit) or "none") in self.numbers else 0.0
