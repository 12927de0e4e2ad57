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
        echoes: frozenset[str] = frozenset(),
        linked: bool = False,
        min_question_support: float = 0.0,
    ) -> Checked:
        """Sort a text's pairs into kept ones and dropped ones with their reasons.

        Args:
            text: what the pairs are about.
            pairs: in the order they were written.
            echoes: strings of the examples that the prompt showed, by `echo.echo_strings`.
            min_question_support: least share of an instruction's content words that stand in the
                text (`question_beside_text`), for pairs whose instructions name what they ask
                about; part of the grounding check.
            linked: each pair builds on the one before, so that after a dropped one all go, with
                the reason `follows_a_dropped_pair`.
        """
        verdicts = self._cheap_verdicts(text, pairs, echoes, linked, min_question_support)
        if self._scorer:
            left = [position for position, verdict in enumerate(verdicts) if not verdict]
            judged = self._scorer.verdicts(text, [pairs[position] for position in left])
            for position, verdict in zip(left, judged, strict=True):
                verdicts[position] = verdict
        if linked:
            verdicts = _broken_off(verdicts)
        checked = Checked()
        for pair, verdict in zip(pairs, verdicts, strict=True):
            if verdict:
                checked.dropped.append((pair, verdict))
            else:
                checked.kept.append(pair)
        return checked

    def _cheap_verdicts(
        self,
        text: str,
        pairs: Sequence[Pair],
        echoes: frozenset[str],
        linked: bool,
        min_question_support: float,
    ) -> list[str]:
        index = TextIndex(text)
        language = TextLanguage(index, self._config.language)
        questions = QuestionSet(self._config.duplicates)
        verdicts: list[str] = []
        for pair in pairs:
            if linked and verdicts and verdicts[-1]:
                verdicts.append(FOLLOWS_A_DROPPED_PAIR)
                continue
            words = PairWords(pair)
            verdict = self._verdict(index, language, words, echoes)
            if not verdict and self._config.grounding.enabled:
                verdict = question_verdict(index, words, min_question_support)
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
            or (
                config.grounding.enabled
                and grounding_verdict(index, words.pair, words, config.grounding)
            )
            or ""
        )


def _broken_off(verdicts: list[str]) -> list[str]:
    for position, verdict in enumerate(verdicts):
        if verdict:
            num_after = len(verdicts) - position - 1
            return [*verdicts[: position + 1], *[FOLLOWS_A_DROPPED_PAIR] * num_after]
    return verdicts
