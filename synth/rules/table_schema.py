"""What a language's file in `tables/` says: its connectives, its word lists, its phrasings."""

from typing import Literal

from pipeline.config import StrictConfig

Relation = Literal[
    "consequence", "contrast", "addition", "restatement", "example", "summary", "none"
]
Attachment = Literal["plain", "comma", "inverting"]
CauseKind = Literal["clause", "phrase", "verb"]


class Connectives(StrictConfig):
    """Sentence openings of one relation, by how they are attached to their sentence."""

    plain: tuple[str, ...] = ()
    """Cut off with or without a comma."""
    comma: tuple[str, ...] = ()
    """Connectives only where a comma follows."""
    inverting: tuple[str, ...] = ()
    """They change the word order: never cut off."""
    weak: tuple[str, ...] = ()
    """Those of the above that often only turn to something else."""


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
    fronted_conditions: tuple[str, ...] = ()
    """Word, condition, comma, what is then the case."""
    subordinators: tuple[str, ...] = ()
    """First words of a clause that is no sentence unless another follows a comma."""
    negations: tuple[str, ...] = ()
    """A clause with one of them has its reason after a comma: "not ... because" may deny it."""
    not_after: tuple[str, ...] = ()
    """Words right before a connective that make it part of something else."""
    relatives: tuple[str, ...] = ()
    """A noun phrase of cause close behind one of them explains a relative clause."""
    finite: tuple[str, ...] = ()
    """Verbs, one of which (or of `finite_endings`) an effect before a noun phrase of cause needs;
    without any: not looked at."""
    finite_endings: tuple[str, ...] = ()
    """Endings of such verbs."""
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
    joints: tuple[str, ...] = ()
    """What a description ends at, where nothing else divides it."""
    not_in_terms: tuple[str, ...] = ()
    """Words that are in no term."""


class Judgement(StrictConfig):
    """Questions that are answered by a label: how two sentences are related."""

    task: Literal["entailment", "paraphrase"]
    """The task that asks them."""
    labels: dict[Relation, str]
    """The label of each relation; together they are the options."""
    is_strict: bool = False
    """Whether the labels claim so much that `weak` connectives do not bear them out."""
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
    connectives: dict[Relation, Connectives]
    """Sentence openings by what they say about the sentence before."""
    causes: Causes
    """Causes and effects."""
    definitions: Definitions
    """Definitions."""
    judgements: tuple[Judgement, ...] = ()
    """Questions answered by a label."""
    phrasings: dict[str, tuple[str, ...]]
    """Phrasings by form."""
