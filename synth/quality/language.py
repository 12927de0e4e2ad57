"""Is a pair written in its text's language?

Three steps, the cheap ones first; instruction and response are each judged alone, for a model may
ask in English and quote in French.

    1  a part whose words mostly stand in the text is in the text's language: keep
    2  script: a part of enough letters whose main script is under 5% of the text's letters: drop
    3  identifier (py3langid, naive Bayes on byte n-grams, Lui and Baldwin 2012): drop
       if part and text are both long enough, both named with min_confidence or more, and the names
       differ and are not close relatives

Confidence is the identifier's normalised probability, which its temperature of sqrt(bytes) keeps
comparable across lengths. Short parts pass. Instructions to translate are exempt: there the switch
is the task.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any

from synth.quality.config import LanguageConfig
from synth.quality.text_index import TextIndex
from synth.quality.words import PairWords

_SAME_LANGUAGE_SHARE = 0.5
_FOREIGN_SCRIPT_SHARE = 0.05
_MAIN_SCRIPT_SHARE = 0.6
_SAMPLE_CHARS = 1000
_TRANSLATE = re.compile(
    r"(?i)\btranslat|\bübersetz|\btradui|\btraduc|\btraduz|\btradur|\bvertaal|перев[её]д|перевод"
    r"|翻译|翻譯|訳し|번역"
)
_SCRIPTS = {
    "latin": "A-Za-z\u00aa\u00ba\u00c0-\u024f\u1e00-\u1eff",
    "greek": "\u0370-\u03ff\u1f00-\u1fff",
    "cyrillic": "\u0400-\u052f",
    "hebrew": "\u05d0-\u05ea",
    "arabic": "\u0620-\u06ff\u0750-\u077f",
    "indic": "\u0900-\u0dff",
    "thai": "\u0e00-\u0e7f",
    # Japanese mixes kana and Han, so both are one script here; step 3 tells it from Chinese.
    "han_kana": "\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff",
    "hangul": "\u1100-\u11ff\uac00-\ud7a3",
}
_LETTERS = {name: re.compile(f"[{letters}]+") for name, letters in _SCRIPTS.items()}
# Names of species, laws and composers read as Latin in every language.
_UNCLEAR = frozenset({"la"})
# Languages that the identifier confuses even on long texts.
_RELATIVES = (
    frozenset({"en", "pcm"}),
    frozenset({"no", "nb", "nn", "da", "sv"}),
    frozenset({"hr", "sr", "bs", "sl"}),
    frozenset({"id", "ms", "jv"}),
    frozenset({"es", "gl", "pt", "ca", "an", "oc", "ext"}),
    frozenset({"it", "vec", "lij", "lmo", "scn"}),
    frozenset({"zh", "yue", "wuu"}),
    frozenset({"cs", "sk"}),
    frozenset({"ru", "uk", "be", "bg", "mk"}),
    frozenset({"af", "nl"}),
    frozenset({"de", "lb", "gsw"}),
    frozenset({"hi", "mr", "ne"}),
    frozenset({"zu", "xh"}),
)


class TextLanguage:
    """Script shares and language of one text, each found on first use."""

    def __init__(self, index: TextIndex, config: LanguageConfig) -> None:
        """Nothing is computed yet."""
        self._index = index
        self._config = config

    @cached_property
    def scripts(self) -> dict[str, float]:
        """Share of each script among the letters of the text's start."""
        return script_shares(self._index.text[:_SAMPLE_CHARS])

    @cached_property
    def language(self) -> str:
        """ISO 639-1 code, or empty if the text is short or its language unclear."""
        return _confident_language(self._index.text[:_SAMPLE_CHARS], self._config)

    def verdict(self, words: PairWords) -> str:
        """Reason to drop a pair: `script_mismatch`, `language_mismatch`, or empty."""
        pair = words.pair
        if _TRANSLATE.search(pair.instruction):
            return ""
        for part, split in ((pair.instruction, words.instruction), (pair.response, words.response)):
            if verdict := self._part_verdict(part, split):
                return verdict
        return ""

    def _part_verdict(self, part: str, words: Sequence[str]) -> str:
        if len(part) < self._config.min_script_letters or self._shares_words(words):
            return ""
        if self._is_foreign_script(part):
            return "script_mismatch"
        if min(len(part), len(self._index.text)) < self._config.min_chars:
            return ""
        found = _confident_language(part, self._config)
        if not found or not self.language or _are_close(found, self.language):
            return ""
        return "language_mismatch"

    def _shares_words(self, words: Sequence[str]) -> bool:
        distinct = set(words)
        shared = len(distinct & self._index.vocabulary)
        return shared >= _SAME_LANGUAGE_SHARE * len(distinct)

    def _is_foreign_script(self, part: str) -> bool:
        if part.isascii() and self._index.text.isascii():
            return False
        shares = script_shares(part)
        if not shares or not self.scripts:
            return False
        main, share = max(shares.items(), key=lambda item: item[1])
        num_letters = sum(map(len, _LETTERS[main].findall(part)))
        return (
            num_letters >= self._config.min_script_letters
            and share >= _MAIN_SCRIPT_SHARE
            and self.scripts.get(main, 0.0) < _FOREIGN_SCRIPT_SHARE
        )


def script_shares(text: str) -> dict[str, float]:
    """Share of each known script among the letters of a text; empty without such letters."""
    counts = Counter(
        {name: sum(map(len, letters.findall(text))) for name, letters in _LETTERS.items()}
    )
    total = counts.total()
    return {name: count / total for name, count in counts.items() if count}


def identify_language(text: str) -> tuple[str, float]:
    """ISO 639 code of a text's likeliest language and its normalised probability, 0..1.

    Digits are left aside: they say nothing of a language.
    """
    language, confidence = _identifier().classify(re.sub(r"\d+", " ", text))
    return str(language), float(confidence)


def _confident_language(text: str, config: LanguageConfig) -> str:
    if len(text) < config.min_chars:
        return ""
    language, confidence = identify_language(text)
    return language if confidence >= config.min_confidence and language not in _UNCLEAR else ""


def _are_close(first: str, second: str) -> bool:
    return first == second or any(first in kin and second in kin for kin in _RELATIVES)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
