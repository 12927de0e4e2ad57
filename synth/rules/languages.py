"""Connective tables and phrasings by language, and the guess which language a text is in.

The guess counts stop words among a text's first characters (kana and Han are told by script): a few
microseconds a text, where the identifier of `synth.language` takes milliseconds. It errs towards
"unknown". A language without a table of its own (or an unknown one) gets the tasks that need no
knowledge of it - completion, words to text, title, gap, list - in English phrasing.
"""

import functools
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from pipeline.config import load_config
from synth.rules.phrasing import Pool, parse_pool
from synth.rules.table_schema import (
    Attachment,
    CauseKind,
    Causes,
    Connectives,
    Definitions,
    Judgement,
    Relation,
    Table,
)

_TABLES = Path(__file__).parent / "tables"
_FALLBACK, _FALLBACK_FORMS = (
    "en",
    frozenset({"completion", "words", "title", "section", "heading", "gap", "list"}),
)
_SAMPLE_CHARS = 500
_MIN_STOP_WORD_SHARE = 0.08
_MIN_SCRIPT_SHARE = 0.2
_KANA = re.compile("[\u3041-\u30ff]")
_HAN = re.compile("[\u4e00-\u9fff]")


@dataclass(frozen=True)
class Language:
    """A table made ready for mining."""

    code: str
    abbreviations: frozenset[str]
    starters: frozenset[str]
    dangling: frozenset[str]
    lowerable: frozenset[str]
    function_words: frozenset[str]
    pools: dict[str, Pool]
    judgements: tuple[tuple[Judgement, Pool], ...] = ()
    connectives: dict[str, tuple[Relation, Attachment]] = field(default_factory=dict)
    """What each connective says, by its form at a sentence's beginning."""
    weak: frozenset[str] = frozenset()
    opening: re.Pattern[str] | None = None
    """Groups: connective, comma; `opens_with` says whether it is one."""
    inner_link: re.Pattern[str] | None = None
    """The same after a semicolon; groups: connective, comma."""
    causes: Causes = field(default_factory=Causes)
    cause_kinds: dict[str, CauseKind] = field(default_factory=dict)
    cause: re.Pattern[str] | None = None
    """Groups: comma, connective."""
    fronted: re.Pattern[str] | None = None
    """Groups: connective, cause, effect."""
    definition: re.Pattern[str] | None = None
    """Groups: term, copula (None: a defining verb)."""
    joints: tuple[str, ...] = ()
    not_in_terms: frozenset[str] = frozenset()

    def opens_with(self, match: re.Match[str] | None) -> bool:
        """Whether a match of `opening` is a connective, and not the same words in another use."""
        if match is None:
            return False
        return self.connectives[match.group(1)][1] != "comma" or bool(match.group(2))


def guess_language(text: str) -> str:
    """ISO 639-1 code of a text's likely language; empty where nothing speaks for one."""
    sample = text[:_SAMPLE_CHARS]
    if not sample.isascii():
        threshold = _MIN_SCRIPT_SHARE * len(sample)
        num_kana = len(_KANA.findall(sample))
        if num_kana + len(_HAN.findall(sample)) > threshold:
            return "ja" if num_kana > threshold / 4 else "zh"
    words = sample.lower().split()
    owners = _stop_word_owners()
    known = filter(owners.__contains__, words)
    votes = Counter(chain.from_iterable(map(owners.__getitem__, known)))
    most = max(votes.values(), default=0)
    leaders = [code for code, count in votes.items() if count == most]
    if len(leaders) != 1 or most < _MIN_STOP_WORD_SHARE * len(words):
        return ""
    return leaders[0]


@functools.cache
def load_language(code: str) -> Language:
    """The language of a code; English with the language-independent forms where it has no table.

    Raises:
        InputError: a table is not valid.
    """
    if code not in table_codes():
        table = load_config(Table, _TABLES / f"{_FALLBACK}.toml")
        return _bare_language(code, table, _FALLBACK_FORMS)
    table = load_config(Table, _TABLES / f"{code}.toml")
    bare = _bare_language(code, table, frozenset(table.phrasings))
    connectives = {
        word: (relation, attachment)
        for relation, words in table.connectives.items()
        for attachment, word in _attached(words)
    }
    inner = {_lower_first(word) for word, (_, kind) in connectives.items() if kind != "inverting"}
    kinds = _cause_kinds(table.causes)
    return Language(
        **{name: getattr(bare, name) for name in ("code", "abbreviations", "starters", "pools")},
        **{name: getattr(bare, name) for name in ("dangling", "lowerable", "function_words")},
        judgements=tuple((entry, parse_pool(entry.questions)) for entry in table.judgements),
        connectives=connectives,
        weak=frozenset(word for words in table.connectives.values() for word in words.weak),
        opening=_compile("({})(?!\\w)([,\uff0c\u3001]?) ?", connectives),
        inner_link=_compile("; ({})(?!\\w)(,?) ", inner),
        causes=table.causes,
        cause_kinds=kinds,
        cause=_compile("(,?) ({})", kinds, follow=True),
        fronted=_compile(
            "({}) ?([^,;:.]++), ([^,;:]++)",
            [
                *table.causes.fronted_clauses,
                *table.causes.fronted_phrases,
                *table.causes.fronted_conditions,
            ],
            follow=True,
        ),
        definition=_definition_pattern(table.definitions),
        joints=table.definitions.joints,
        not_in_terms=frozenset(table.definitions.not_in_terms),
    )


@functools.cache
def table_codes() -> frozenset[str]:
    """Codes of the languages that have a table."""
    return frozenset(file.stem for file in _TABLES.glob("??.toml"))


def _bare_language(code: str, table: Table, forms: frozenset[str]) -> Language:
    return Language(
        code=code,
        abbreviations=frozenset(table.abbreviations),
        starters=frozenset(table.starters),
        dangling=frozenset(table.dangling),
        lowerable=frozenset(table.lowerable),
        function_words=frozenset(table.function_words),
        pools={form: parse_pool(table.phrasings[form]) for form in forms},
    )


def _attached(words: Connectives) -> Iterable[tuple[Attachment, str]]:
    yield from (("plain", word) for word in words.plain)
    yield from (("comma", word) for word in words.comma)
    yield from (("inverting", word) for word in words.inverting)


def _cause_kinds(causes: Causes) -> dict[str, CauseKind]:
    kinds: dict[str, CauseKind] = dict.fromkeys(causes.clauses, "clause")
    kinds |= dict.fromkeys(causes.phrases, "phrase")
    return kinds | dict.fromkeys(causes.verbs, "verb")


def _compile(frame: str, words: Iterable[str], *, follow: bool = False) -> re.Pattern[str] | None:
    """Put the words into a pattern, the longest first; `follow`: a space comes after each."""
    ordered = sorted(words, key=lambda word: (-len(word), word))
    if not ordered:
        return None
    # "parce qu'" stands right before a word.
    ends = ["(?= )" if follow and word[-1].isalpha() else "" for word in ordered]
    return re.compile(
        frame.replace("{}", "|".join(map("".join, zip(map(re.escape, ordered), ends, strict=True))))
    )


def _definition_pattern(words: Definitions) -> re.Pattern[str] | None:
    if not words.copulas:
        return None
    # A determiner that ends in an apostrophe ("L'") stands right before its noun.
    before = "|".join(word if not word[-1].isalpha() else f"{word} " for word in words.determiners)
    copulas, articles = "|".join(words.copulas), "|".join(words.articles)
    definers = "|".join(words.definers)
    return re.compile(
        rf"((?:{before})?[^\W\d_][\w'\u2019-]*+(?: [\w'\u2019-]++){{0,4}}?) "
        rf"(?:({copulas}) (?=(?:{articles}) )|(?:{definers}) )"
    )


def _lower_first(word: str) -> str:
    return word[0].lower() + word[1:]


@functools.cache
def _stop_word_owners() -> Mapping[str, tuple[str, ...]]:
    lists = tomllib.loads((_TABLES / "other.toml").read_text(encoding="utf-8"))
    for code in table_codes():
        lists[code] = load_config(Table, _TABLES / f"{code}.toml").stop_words
    owners: dict[str, tuple[str, ...]] = {}
    for code, words in sorted(lists.items()):
        for word in words:
            owners[word] = (*owners.get(word, ()), code)
    return owners
