"""Which numbers a text names, however they are written.

    "1,234"       -> {1234, 1.234}   a separator before three digits may be either kind
    "3.50"        -> {3.5}
    "5.2 million" -> {5.2, 5200000}
    "12/05/2021"  -> {12}, {5}, {2021}
    "twelve", "zwölf", "third" -> 12, 12, 3   (only as evidence: "one" is often a pronoun)

A number of a response is in the text if one of its readings is one of the text's readings.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from decimal import Decimal

_SCALES = {
    **dict.fromkeys(("hundred", "hundert", "cent"), 10**2),
    **dict.fromkeys(("thousand", "tausend", "mille", "mil"), 10**3),
    **dict.fromkeys(("万", "萬"), 10**4),
    **dict.fromkeys(("million", "millions", "millionen", "millón", "millones"), 10**6),
    **dict.fromkeys(("亿", "億"), 10**8),
    **dict.fromkeys(("billion", "billions", "milliard", "milliards", "milliarden", "bn"), 10**9),
    **dict.fromkeys(("trillion", "trillions"), 10**12),
}
_SCALE_NAMES = "|".join(sorted(_SCALES, key=len, reverse=True))
_NUMBER = re.compile(
    r"(?<!\d)(?P<digits>\d{1,3}(?:[ '\u2019]\d{3})+(?!\d)(?:[.,]\d+)?|\d+(?:[.,]\d+)*)"
    rf"(?:[ -]?(?P<scale>(?:{_SCALE_NAMES})(?![a-z])))?"
)
_LIST_MARKER = re.compile(r"(?m)^[^\S\n]*\(?\d{1,2}[.):]\s+|(?<!\w)\(?\d{1,2}\)\s")
_LONGEST_SCALED = 20

_WORDS_BY_LANGUAGE = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen",
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth",
    "ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
    "un deux trois quatre cinq six sept huit neuf dix onze douze",
    "uno dos tres cuatro cinco seis siete ocho nueve diez once doce",
    "一 二 三 四 五 六 七 八 九 十",
)
_VALUES: dict[str, int] = {
    word: value for words in _WORDS_BY_LANGUAGE for value, word in enumerate(words.split(), start=1)
} | {"once": 11, "zero": 0, "eine": 1, "une": 1, "una": 1, "两": 2, "dozen": 12, "hundred": 100}
_TENS = {
    word: 10 * value
    for words in (
        "twenty thirty forty fifty sixty seventy eighty ninety",
        "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig",
        "vingt trente quarante cinquante soixante",
        "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
    )
    for value, word in enumerate(words.split(), start=2)
}


def number_mentions(folded: str) -> list[frozenset[str]]:
    """The numbers written in digits, in order, each as the set of its readings.

    Markers of a numbered list ("1. ", "2) ") are no numbers of the content.

    Args:
        folded: text after `words.fold`.
    """
    if not any(map(str.isdecimal, folded)):
        return []
    mentions: list[frozenset[str]] = []
    for match in _NUMBER.finditer(_LIST_MARKER.sub(" ", folded)):
        mentions.extend(_readings(match["digits"], _SCALES.get(match["scale"] or "", 1)))
    return mentions


def numbers_of_text(folded: str, words: Sequence[str]) -> frozenset[str]:
    """Every reading of every number of a text, number words included.

    Args:
        folded: text after `words.fold`; list markers count here.
        words: its words.
    """
    found: set[str] = set()
    for match in _NUMBER.finditer(folded):
        digits = match["digits"]
        for mention in _readings(digits, _SCALES.get(match["scale"] or "", 1)):
            found |= mention
        if " " in digits:  # two numbers side by side look like one grouped number
            found.update(_plain(part) for part in re.split("[ .,]", digits))
    for position, word in enumerate(words):
        if word in _VALUES:
            found.add(str(_VALUES[word]))
        elif word in _TENS:
            follower = words[position + 1] if position + 1 < len(words) else ""
            unit = _VALUES.get(follower, 0)
            found.add(str(_TENS[word] + (unit if unit < 10 else 0)))
    return frozenset(found)


def value_of_word(word: str) -> str:
    """The number that a word such as "twelve" names, or empty."""
    value = _VALUES.get(word, _TENS.get(word))
    return "" if value is None else str(value)


def is_magnitude_of(word: str, numbers: frozenset[str]) -> bool:
    """Whether a word such as "million" is the magnitude of one of `numbers`."""
    scale = _SCALES.get(word)
    return scale is not None and any(
        number.isdecimal() and len(number) >= len(str(scale)) for number in numbers
    )


def _readings(digits: str, scale: int) -> Iterator[frozenset[str]]:
    for readings in _unscaled(digits):
        if scale == 1 or max(map(len, readings)) > _LONGEST_SCALED:
            yield readings
        else:
            scaled = {_trim(f"{Decimal(reading) * scale:f}") for reading in readings}
            yield readings | scaled


def _unscaled(digits: str) -> Iterator[frozenset[str]]:
    parts = re.split(r"[^\d]", digits)
    marks = re.findall(r"[^\d]", digits)
    if not marks:
        yield frozenset({_plain(digits)})
        return
    is_grouped = all(len(part) == 3 for part in parts[1:]) and len(parts[0]) <= 3
    if len(marks) == 1 and marks[0] in ".,":
        readings = {_decimal(parts[0], parts[1])}
        if is_grouped and parts[0] != "0":
            # The decimal reading keeps its zeros: "2,000" must not stand for 2.
            readings = {_plain(parts[0] + parts[1]), f"{_plain(parts[0])}.{_ascii(parts[1])}"}
        yield frozenset(readings)
    elif is_grouped and len(set(marks)) == 1:
        yield frozenset({_plain("".join(parts))})
    elif (
        len(set(marks[:-1])) == 1
        and marks[-1] != marks[0]
        and all(len(part) == 3 for part in parts[1:-1])
    ):
        yield frozenset({_decimal("".join(parts[:-1]), parts[-1])})
    else:  # a date, a version, a list without spaces
        yield from (frozenset({_plain(part)}) for part in parts)


def _decimal(whole: str, fraction: str) -> str:
    return _trim(f"{_plain(whole)}.{_ascii(fraction)}")


def _trim(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number


def _plain(digits: str) -> str:
    return _ascii(digits).lstrip("0") or "0"


def _ascii(digits: str) -> str:
    """The same digits in ASCII; not through `int`, which refuses very long ones."""
    if digits.isascii():
        return digits
    return "".join(str(unicodedata.decimal(digit)) for digit in digits)
