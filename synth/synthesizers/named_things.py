"""Tasks about the things that a passage names, such that a small model can learn to write them.

By the Treasury's account of 1819 ...   What does the text say of 1819?     ─▶ the sentence
                                        What is said about the Treasury?    ─▶ the sentence
                                        Which of these occurs in the text?  ─▶ one of its names,
                                                                               beside others'
"""

import random
import re
from collections.abc import Iterator, Sequence

from pipeline.contracts import Pair
from synth.sentences import sentences_around

_NAME = re.compile(
    r"(?<=[a-z,;] )[A-Z][a-z]+\b(?: (?:of (?:the )?)?[A-Z][a-z]+\b)*"  # not where a sentence begins
    r"|\b[a-z]\w*(?:[._][a-z]\w+)+|\b[A-Z][a-z]+[A-Z]\w+"  # os.path, read_csv, ConfigParser
    r"|\b(?:1[6-9]|20)\d\d\b"
)
_SENTENCE = re.compile(r"[\"'\u201c(]?[A-Z0-9].{38,238}[.!?][\"'\u201d)]?")
_ABOUT = (
    "What does the text say about {}?",
    "What is said about {}?",
    "What does the passage tell us about {}?",
    "Which sentence mentions {}?",
    "Find what the author says about {}.",
)
_OF_YEAR = (
    "What does the text say of {}?",
    "What is said about the year {}?",
    "Which sentence speaks of {}?",
)
_OCCURS = (
    "Which of these occurs in the text?",
    "Which of these does the passage name?",
    "Only one of these is mentioned in the text. Which?",
)
_CHOICE_SHARE = 0.4
"""Texts that are asked to choose among names: once, as the question is the same each time."""


def names_in(text: str) -> list[str]:
    """What a text names, each once, in order."""
    return list(dict.fromkeys(match.group() for match in _NAME.finditer(text)))


def ask_about_names(text: str, names: Sequence[str], stream: random.Random) -> Iterator[Pair]:
    """Pairs about what a text names, in an order drawn from the stream.

    Args:
        text: a passage.
        names: things that other passages name.
        stream: decides what is asked, and how.
    """
    own = names_in(text)
    is_choice = stream.random() < _CHOICE_SHARE
    for name in stream.sample(own, len(own)):
        if is_choice:
            is_choice = False
            others = [other for other in stream.sample(names, 6) if other not in text][:3]
            options = [name, *others]
            stream.shuffle(options)
            yield Pair(stream.choice(_OCCURS), name, "multiple_choice", tuple(options))
            continue
        start = text.index(name)
        sentence = " ".join(sentences_around(text, start, start + len(name)).split())
        if _SENTENCE.fullmatch(sentence):
            phrasings = _OF_YEAR if name.isdigit() else _ABOUT
            yield Pair(stream.choice(phrasings).format(name), sentence)
