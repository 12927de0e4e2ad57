"""All checks of a text's pairs, in one pass.

Order, and with it which reason a pair gets that breaks several rules:

    length -> repetition -> phrases -> echo -> language -> grounding -> duplicates -> scorer

What is plainly broken comes before what is merely unsupported; duplicates come after all cheap
checks, so that a question is never lost to a pair that is itself dropped; the scorer, dear, sees
what is left. (A question lost to a pair that the scorer then drops stays lost.)
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.contracts import Pair
from synth.quality.config import ChecksConfig
from synth.quality.duplicates import QuestionSet
from synth.quality.echo import echo_verdict
from synth.quality.expectations import NOTHING_SPECIAL, Expectations
from synth.quality.grounding import grounding_verdict, question_verdict
from synth.quality.language import TextLanguage
from synth.quality.length import length_verdict
from synth.quality.phrases import PhraseTable
from synth.quality.repetition import repetition_verdict
from synth.quality.scorer import PairScorer
from synth.quality.text_index import TextIndex
from synth.quality.words import PairWords

FOLLOWS_A_DROPPED_PAIR = "follows_a_dropped_pair"


@dataclass(frozen=True)
class Checked:
    """What became of a text's pairs; both lists keep the pairs' order."""

    kept: list[Pair] = field(default_factory=list)
    dropped: list[tuple[Pair, str]] = field(default_factory=list)
    """Each pair with its reason."""


class PairChecker:
    """Applies the configured checks; one instance serves any number of texts."""

    def __init__(self, config: ChecksConfig) -> None:
        """Load the phrase table; models load when first needed."""
        self._config = config
        self._phrases = PhraseTable(config.phrases)
        self._scorer = PairScorer(config.scorer) if config.scorer else None

    def check(
        self,
        text: str,
        pairs: Sequence[Pair],
        expected: Expectations = NOTHING_SPECIAL,
    ) -> Checked:
        """Sort a text's pairs into kept ones and dropped ones with their reasons.

        Args:
            text: what the pairs are about.
            pairs: in the order they were written.
            expected: what the task that brought them lets them be judged by.
        """
        verdicts = self._cheap_verdicts(text, pairs, expected)
        if self._scorer:
            left = [position for position, verdict in enumerate(verdicts) if not verdict]
            judged = self._scorer.verdicts(text, [pairs[position] for position in left])
            for position, verdict in zip(left, judged, strict=True):
                verdicts[position] = verdict
        if expected.is_linked:
            verdicts = broken_off(verdicts)
        return sort_pairs(pairs, verdicts)

    def _cheap_verdicts(
        self, text: str, pairs: Sequence[Pair], expected: Expectations
    ) -> list[str]:
        grounding = self._config.grounding.lowered_to(expected.min_support)
        index = TextIndex(text)
        language = TextLanguage(index, self._config.language)
        questions = QuestionSet(self._config.duplicates)
        verdicts: list[str] = []
        for pair in pairs:
            if expected.is_linked and verdicts and verdicts[-1]:
                verdicts.append(FOLLOWS_A_DROPPED_PAIR)
                continue
            words = PairWords(pair)
            verdict = self._verdict(index, language, words, expected.echoes)
            if not verdict and grounding.enabled:
                verdict = grounding_verdict(index, pair, words, grounding) or question_verdict(
                    index, words, expected.min_question_support
                )
            if not verdict and self._config.duplicates.enabled:
                verdict = questions.verdict(words)
            if not verdict:
                questions.add(words)
            verdicts.append(verdict)
        return verdicts

    def _verdict(
        self, index: TextIndex, language: TextLanguage, words: PairWords, echoes: frozenset[str]
    ) -> str:
        config = self._config
        return (
            (config.length.enabled and length_verdict(words, config.length))
            or (config.repetition.enabled and repetition_verdict(words, config.repetition))
            or (config.phrases.enabled and self._phrases.verdict(index, words))
            or (config.echo.enabled and echo_verdict(index, words, echoes, config.echo))
            or (config.language.enabled and language.verdict(words))
            or ""
        )


def sort_pairs(pairs: Sequence[Pair], verdicts: Sequence[str]) -> Checked:
    """Pairs with an empty verdict are kept, the others dropped."""
    checked = Checked()
    for pair, verdict in zip(pairs, verdicts, strict=True):
        if verdict:
            checked.dropped.append((pair, verdict))
        else:
            checked.kept.append(pair)
    return checked


def broken_off(verdicts: list[str]) -> list[str]:
    """The verdicts of linked pairs: after a dropped one all others follow it."""
    for position, verdict in enumerate(verdicts):
        if verdict:
            num_after = len(verdicts) - position - 1
            return [*verdicts[: position + 1], *[FOLLOWS_A_DROPPED_PAIR] * num_after]
    return verdicts
