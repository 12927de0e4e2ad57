"""Tasks from connectives: what the author takes the relation of two sentences to be.

"Rain fell for a week. Therefore, the river rose."
   entailment    how does the second relate to the first?      -> a label
   cause_effect  what follows from the first?                  -> the second
"... In other words, ..."   paraphrase: say it differently     -> the second
"... However, ..."          paraphrase: speak against it       -> the second
"... For instance, ..."     example: give an instance          -> the second
"""

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from pipeline.contracts import Pair
from synth.rules.candidates import BLANK, Candidate, draw, free_form, multiple_choice
from synth.rules.clauses import capitalised, inline, is_dangling
from synth.rules.languages import Language
from synth.rules.links import Link, LinkedPair, read_link
from synth.rules.phrasing import phrase
from synth.rules.sentences import Passage
from synth.rules.table_schema import Relation

_GAP_SHARE, _COMPARE_SHARE, _REVERSE_SHARE = 0.25, 0.25, 0.3
_JUDGED: tuple[Relation, ...] = ("consequence", "contrast", "addition")
_REWORDED: tuple[Relation, ...] = ("restatement", "contrast", "addition")
_FORMS: dict[Relation, str] = {
    "restatement": "restate",
    "contrast": "contrast",
    "addition": "support",
    "example": "example",
}


def find_entailment(passage: Passage, links: Sequence[Link]) -> list[Candidate]:
    """Consequences, contrasts and additions, to be told apart."""
    return _candidates(passage, links, _JUDGED, _judge_or_join)


def find_consequences(passage: Passage, links: Sequence[Link]) -> list[Candidate]:
    """Sentences that follow from the one before."""
    return _candidates(passage, links, ("consequence",), _conclude)


def find_paraphrase(passage: Passage, links: Sequence[Link]) -> list[Candidate]:
    """Restatements, and sentences that carry on or oppose the one before."""
    return _candidates(passage, links, _REWORDED, _reword)


def find_example(passage: Passage, links: Sequence[Link]) -> list[Candidate]:
    """Sentences that give an instance of the one before."""
    return _candidates(passage, links, ("example",), _reword)


def _candidates(
    passage: Passage,
    links: Sequence[Link],
    relations: Sequence[Relation],
    build: Callable[[Passage, Link, random.Random], Pair | None],
) -> list[Candidate]:
    return [
        Candidate((link.premise, link.sentence), partial(build, passage, link))
        for link in links
        if link.relation in relations
    ]


def _judge_or_join(passage: Passage, link: Link, stream: random.Random) -> Pair | None:
    sides = read_link(passage, link)
    if sides is None:
        return None
    if sides.hypothesis is not None and stream.random() >= _GAP_SHARE:
        return _judge(passage.language, "entailment", link, sides, stream)
    return _join(passage, link, sides, stream)


def _judge(
    language: Language,
    task: Literal["entailment", "paraphrase"],
    link: Link,
    sides: LinkedPair,
    stream: random.Random,
) -> Pair | None:
    """Name the relation of two sentences."""
    known = [
        (judgement.labels, pool)
        for judgement, pool in language.judgements
        if judgement.task == task
        and link.relation in judgement.labels
        and not (judgement.is_strict and capitalised(link.connective) in language.weak)
    ]
    if not known or sides.hypothesis is None:
        return None
    labels, pool = draw(known, stream)
    question = phrase(pool, stream, premise=sides.premise, hypothesis=sides.hypothesis)
    return multiple_choice(question, labels[link.relation], list(labels.values()), stream)


def _join(passage: Passage, link: Link, sides: LinkedPair, stream: random.Random) -> Pair | None:
    """Choose the connective among some that are attached to a sentence in the same way."""
    language = passage.language
    if link.premise == link.sentence or "link" not in language.pools:
        return None
    attachments = ("plain", "comma") if link.comma else (link.attachment,)
    options = [link.connective]
    for relation in _JUDGED:
        if relation != link.relation:
            fitting = [
                word
                for word, kinds in language.connectives.items()
                if kinds[0] == relation and kinds[1] in attachments
            ]
            if fitting:
                options.append(draw(fitting, stream))
    rest = passage.text[link.rest : passage.ends[link.sentence]]
    space = "" if link.comma in ("\uff0c", "\u3001") else " "
    gapped = f"{BLANK}{link.comma}{space}{rest}"
    question = phrase(language.pools["link"], stream, premise=sides.premise, gapped=gapped)
    return multiple_choice(question, link.connective, options, stream)


def _conclude(passage: Passage, link: Link, stream: random.Random) -> Pair | None:
    """Ask for the consequence of a sentence, or for what a consequence follows from."""
    sides = read_link(passage, link)
    if sides is None:
        return None
    language = passage.language
    effect = sides.hypothesis
    if (
        effect is not None
        and stream.random() < _REVERSE_SHARE
        and not is_dangling(language, effect)
    ):
        question = phrase(
            language.pools.get("cause_of", ()),
            stream,
            effect=effect,
            effect_inline=inline(passage, effect),
        )
        return free_form(question, sides.premise_sentence)
    question = phrase(
        language.pools.get("effect", ()),
        stream,
        cause=sides.premise,
        cause_inline=inline(passage, sides.premise),
    )
    return free_form(question, sides.response)


def _reword(passage: Passage, link: Link, stream: random.Random) -> Pair | None:
    """Ask for the sentence that restates, supports, opposes or exemplifies another."""
    sides = read_link(passage, link)
    if sides is None:
        return None
    language, hypothesis = passage.language, sides.hypothesis
    if link.relation in ("restatement", "contrast") and stream.random() < _COMPARE_SHARE:
        return _judge(language, "paraphrase", link, sides, stream)
    if (
        link.relation == "restatement"
        and hypothesis is not None
        and stream.random() < _REVERSE_SHARE
        and not is_dangling(language, hypothesis)
    ):
        pool = language.pools.get("restated", ())
        return free_form(phrase(pool, stream, hypothesis=hypothesis), sides.premise_sentence)
    question = phrase(
        language.pools.get(_FORMS[link.relation], ()),
        stream,
        premise=sides.premise,
        premise_inline=inline(passage, sides.premise),
    )
    return free_form(question, sides.response)
