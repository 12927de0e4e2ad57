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
from pathlib import Path
from typing import Literal

from pipeline.config import StrictConfig, load_config
from synth.rules.phrasing import Pool, parse_pool

Relation = Literal[
    "consequence", "contrast", "addition", "restatement", "example", "summary", "none"
]
Attachment = Literal["plain", "comma", "inverting"]
CauseKind = Literal["clause", "phrase", "verb"]

_TABLES = Path(__file__).parent / "tables"
_FALLBACK, _FALLBACK_FORMS = (
    "en",
    frozenset({"completion", "words", "title", "section", "heading", "gap", "list"}),
)
_SAMPLE_CHARS = 1500
_MIN_STOP_WORD_SHARE = 0.08
_MIN_SCRIPT_SHARE = 0.2
_KANA = re.compile("[\u3041-\u30ff]")
_HAN = re.compile("[\u4e00-\u9fff]")


class Connectives(StrictConfig):
    """Sentence openings of one relation, by how they are attached to their sentence."""

    plain: tuple[str, ...] = ()
    """Cut off with or without a comma."""
    comma: tuple[str, ...] = ()
    """Connectives only where a comma follows."""
    inverting: tuple[str, ...] = ()
    """They change the word order: never cut off."""


class Causes(StrictConfig):
    """Words that tie an effect to its cause."""

    clauses: tuple[str, ...] = ()
    """Effect, word, clause of cause."""
    phrases: tuple[str, ...] = ()
    """Effect, word, noun phrase of cause."""
    guarded: tuple[str, ...] = ()
    """Those with other meanings, taken only where `guard` is found before them."""
    guard: str = ""
    """Regular expression, searched in the effect."""
    fronted_clauses: tuple[str, ...] = ()
    """Word, clause of cause, comma, effect."""
    fronted_phrases: tuple[str, ...] = ()
    """Word, noun phrase of cause, comma, effect."""
    not_after: tuple[str, ...] = ()
    """Words right before a connective that make it part of something else."""
    requires_comma: bool = False
    """Whether a clause of cause has a comma before it."""
    verbs: tuple[str, ...] = ()
    """Cause, verb, effect."""


class Definitions(StrictConfig):
    """Words of sentences that say what something is."""

    determiners: tuple[str, ...] = ()
    """Articles before a term."""
    copulas: tuple[str, ...] = ()
    """Forms of "to be"; one of `articles` has to follow."""
    articles: tuple[str, ...] = ()
    """First words of a description."""
    definers: tuple[str, ...] = ()
    """Verbs that define by themselves."""
    not_in_terms: tuple[str, ...] = ()
    """Words that are in no term."""


class Judgement(StrictConfig):
    """Questions that are answered by a label: how two sentences are related."""

    task: Literal["entailment", "paraphrase"]
    """The task that asks them."""
    labels: dict[Relation, str]
    """The label of each relation; together they are the options."""
    questions: tuple[str, ...]
    """Phrasings with `{premise}` and `{hypothesis}`."""


class Table(StrictConfig):
    """A language's file in `tables/`."""

    stop_words: tuple[str, ...]
    """Its commonest words, for the guess."""
    abbreviations: tuple[str, ...]
    """Words whose period ends no sentence."""
    starters: tuple[str, ...]
    """Words with a capital that begin a sentence even after an initial or a number."""
    dangling: tuple[str, ...]
    """First words of sentences that lean on the sentence before."""
    lowerable: tuple[str, ...]
    """First words that lose their capital inside a sentence."""
    function_words: tuple[str, ...]
    """Long words that are no content."""
    connectives: dict[Relation, Connectives] = {}
    """Sentence openings by what they say about the sentence before."""
    causes: Causes
    """Causes and effects."""
    definitions: Definitions
    """Definitions."""
    judgements: tuple[Judgement, ...] = ()
    """Questions answered by a label."""
    phrasings: dict[str, tuple[str, ...]]
    """Phrasings by form."""


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
    opening: re.Pattern[str] | None = None
    """Groups: connective, comma."""
    inner_link: re.Pattern[str] | None = None
    """The same after a semicolon; groups: connective, comma."""
    causes: Causes = Causes()
    cause_kinds: dict[str, CauseKind] = field(default_factory=dict)
    cause: re.Pattern[str] | None = None
    """Groups: comma, connective."""
    fronted: re.Pattern[str] | None = None
    """Groups: connective, cause, effect."""
    definition: re.Pattern[str] | None = None
    """Groups: term, copula (None: a defining verb)."""
    not_in_terms: frozenset[str] = frozenset()


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
    votes: Counter[str] = Counter()
    for word in words:
        if word in owners:
            votes.update(owners[word])
    ranked = votes.most_common(2)
    if not ranked or ranked[0][1] < max(1, _MIN_STOP_WORD_SHARE * len(words)):
        return ""
    if len(ranked) == 2 and ranked[0][1] == ranked[1][1]:
        return ""
    return ranked[0][0]


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
        opening=_compile("({})(?!\\w)([,\uff0c\u3001]?) ?", connectives),
        inner_link=_compile("; ({})(?!\\w)(,?) ", inner),
        causes=table.causes,
        cause_kinds=kinds,
        cause=_compile("(,?) ({})", kinds, follow=True),
        fronted=_compile(
            "({}) ?([^,;:.]++), ([^,;:]++)",
            [*table.causes.fronted_clauses, *table.causes.fronted_phrases],
            follow=True,
        ),
        definition=_definition_pattern(table.definitions),
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
