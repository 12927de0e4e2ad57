"""Responses that judge a text and are no piece of it: "yes", "false", "entailment", "positive"."""

from collections.abc import Sequence

from synth.quality.words import split_words

_LABELS = frozenset(
    tuple(split_words(label))
    for label in (
        *("yes", "no", "true", "false", "maybe", "it depends", "unknown", "not given", "correct"),
        *("incorrect", "right", "wrong", "entailment", "entailed", "not entailment", "neutral"),
        *("contradiction", "positive", "negative", "mixed", "supported", "refuted", "possible"),
        *("impossible", "cannot be determined", "can not be determined", "it is impossible to say"),
        *("it is not possible to tell", "can t tell", "cannot say", "none of the above"),
        *("all of the above", "both", "neither", "fact", "opinion"),
        *("ja", "nein", "wahr", "falsch", "richtig", "positiv", "negativ"),
        *("oui", "non", "vrai", "faux", "positif", "négatif"),
        *("sí", "si", "verdadero", "falso", "cierto", "positivo", "negativo"),
        *("sim", "não", "vero", "да", "нет", "是", "不是", "否", "对", "错", "正确", "错误"),
        *("はい", "いいえ", "正しい", "誤り", "예", "아니요", "نعم", "لا"),
    )
)


def is_known_label(response_words: Sequence[str]) -> bool:
    """Whether a response, split into words, is one of the known labels."""
    return tuple(response_words) in _LABELS
