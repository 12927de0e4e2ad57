"""Whether a stretch of a text can stand by itself, and how it is written when it does."""

import re

from synth.rules.languages import Language
from synth.rules.sentences import Passage

MAX_CHARS = 320
MAX_SENTENCE_CHARS = 480
_MIN_CHARS, _MIN_UNSPACED_CHARS = 20, 7
_MIN_SPACES = 3
# Quotation marks would nest, brackets and markup hardly ever read well out of their context.
_UNQUOTABLE = re.compile(
    '["\u201c\u201d\u201e\u00ab\u00bb\u300c\u300d\u300e\u300f|{}<>\\[\\]\\\\_=~^*#'
    "\x00-\x1f\x85\u2028\u2029]|https?:|www\\.|\\.\\.|\u2026|\ufffd"
)
_BROKEN = re.compile("[|{}<>\\\\_=~^*#\x00-\x1f\x85\u2028\u2029\ufffd]|https?:|www\\.")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u9fff]")
_CONTENT_WORD = re.compile("(?<![\\w-])[^\\W\\d_]{5,}+(?:-[^\\W\\d_]++)*+(?!['\u2019])")
_UNSPACED_WORD = re.compile(
    "(?<![\u4e00-\u9fff])[\u4e00-\u9fff]{2,4}(?![\u4e00-\u9fff])|[\u30a1-\u30fa\u30fc]{2,}+"
)
_ZH_GRAMMAR = re.compile("[的了是在和也就与及着吗呢之这那而其为被把有对从到由于以将并或不都很更最]")
_FIRST_WORD = re.compile("[\\w'\u2019-]+")
_STATEMENT_ENDS = (".", "\u3002", "\u0964")
_SENTENCE_ENDS = tuple(".!?\u3002\uff01\uff1f\u061f\u0964") + tuple(
    sign + closer for sign in ".!?\u3002\uff01\uff1f" for closer in "\"'\u201d\u2019)\u300d\u00bb"
)
_BALANCED = (("\u201c", "\u201d"), ("\u300c", "\u300d"), ("\u00ab", "\u00bb"))


def statement(passage: Passage, sentence: int) -> str | None:
    """A sentence without its period, if it can be quoted; None for questions and fragments."""
    start, end = passage.starts[sentence], passage.ends[sentence]
    if end - start > MAX_CHARS:
        return None
    text = passage.text[start:end]
    if not text.endswith(_STATEMENT_ENDS) or not _begins_well(text):
        return None
    return quotable(text)


def quotable(clause: str, min_spaces: int = _MIN_SPACES) -> str | None:
    """A clause without outer punctuation, if it can be quoted."""
    if len(clause) > MAX_CHARS:
        return None
    clause = clause.strip(" \u00a0\u3000,;:").rstrip(".\u3002\u0964")
    if not clause or _UNQUOTABLE.search(clause) or clause.count("(") != clause.count(")"):
        return None
    if clause.endswith(("!", "?", "\uff01", "\uff1f")):
        return None
    if is_unspaced(clause):
        return clause if len(clause) >= _MIN_UNSPACED_CHARS else None
    return clause if clause.count(" ") >= min_spaces else None


def whole_sentence(passage: Passage, sentence: int) -> str | None:
    """A sentence as it stands, if it is one that can be given as an answer."""
    start, end = passage.starts[sentence], passage.ends[sentence]
    if end - start > MAX_SENTENCE_CHARS:
        return None
    text = passage.text[start:end]
    if not text.endswith(_SENTENCE_ENDS) or not _begins_well(text) or _BROKEN.search(text):
        return None
    if text.count('"') % 2 or text.count("(") != text.count(")"):
        return None
    if not text.isascii() and any(text.count(a) != text.count(b) for a, b in _BALANCED):
        return None
    if is_unspaced(text):
        return text if len(text) >= _MIN_UNSPACED_CHARS else None
    return text if len(text) >= _MIN_CHARS and text.count(" ") >= _MIN_SPACES else None


def standing_sentence(passage: Passage, number: int) -> str | None:
    """A sentence that can be given as an answer and leans on no other; found once."""
    if number not in passage.standing:
        text = whole_sentence(passage, number)
        is_whole = text is not None and not is_dangling(passage.language, text)
        passage.standing[number] = text if is_whole else None
    return passage.standing[number]


def is_dangling(language: Language, clause: str) -> bool:
    """Whether a clause leans on the one before it, by its first word."""
    if is_unspaced(clause[:8]):
        return clause.startswith(tuple(language.dangling))
    word = first_word(clause).lower()
    if word in language.dangling or word.partition("'")[0] in language.dangling:
        return True
    return language.opening is not None and language.opens_with(language.opening.match(clause))


def first_word(clause: str) -> str:
    """The first word of a clause, or nothing."""
    match = _FIRST_WORD.search(clause)
    return match.group() if match else ""


def capitalised(clause: str) -> str:
    """A clause as the beginning of a sentence."""
    return clause[:1].upper() + clause[1:]


def as_sentence(clause: str) -> str:
    """A clause as a sentence of its own, with a capital and a period."""
    clause = clause.strip(" \u00a0\u3000,;")
    if not clause or clause.endswith(_SENTENCE_ENDS):
        return capitalised(clause)
    return capitalised(clause) + ("\u3002" if _UNSPACED.match(clause[-1]) else ".")


def inline(passage: Passage, clause: str) -> str | None:
    """A clause as it is written within a sentence; None where its first word may be a name.

    A first word that the text has with a capital in the midst of a sentence is one, and keeps its
    capital. (One that the text also has in lower case may still be an imperative here.)
    """
    word = first_word(clause)
    if ". " in clause:
        return None
    if not word or not clause.startswith(word) or not word[0].isupper() or word in ("I", "I'm"):
        return clause if word[:1].isalpha() else None
    lowered = word[0].lower() + word[1:]
    if lowered in passage.language.lowerable:
        return lowered + clause[len(word) :]
    text = passage.text
    position = text.find(f" {word} ")
    return clause if position > 0 and text[position - 1].isalpha() else None


def content_words(passage: Passage, sentence: str) -> list[str]:
    """Distinct content words, the first word left out for its capital may be the sentence's."""
    if is_unspaced(sentence):
        pieces = " ".join(_ZH_GRAMMAR.split(sentence))
        found = _UNSPACED_WORD.findall(pieces)
    else:
        found = _CONTENT_WORD.findall(sentence, len(first_word(sentence)) + 1)
    return [
        word for word in dict.fromkeys(found) if word.lower() not in passage.language.function_words
    ]


def sentence_words(passage: Passage, number: int) -> list[str]:
    """Content words of one sentence, found once."""
    words = passage.content.get(number)
    if words is None:
        sentence = passage.text[passage.starts[number] : passage.ends[number]]
        words = passage.content[number] = content_words(passage, sentence)
    return words


def is_unspaced(clause: str) -> bool:
    """Whether a clause is in a script written without spaces, by its first characters."""
    return not clause.isascii() and len(_UNSPACED.findall(clause[:12])) > len(clause[:12]) / 3


def _begins_well(text: str) -> bool:
    first = text[0] if text[0].isalnum() else text[1:2]
    return first.isalnum() and not first.islower() and not text[:40].isupper()
