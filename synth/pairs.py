"""From loose questions and answers to structured pairs, with a reason for each one dropped."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.contracts import Pair, PairKind

DUPLICATE_QUESTION = "duplicate_question"
_OPTIONS_MARK = "\nOptions:\n"
_STEP_BY_STEP = "\nLet's think step by step."
_THEREFORE = "\nTherefore, the answer is "


@dataclass
class ParsedPairs:
    """Pairs that survived parsing, and why the others did not."""

    pairs: list[Pair] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    _asked: set[str] = field(default_factory=set, repr=False, compare=False)

    def take(self, pair: Pair | str) -> None:
        """Take a pair, or count the reason that stands in its place."""
        if isinstance(pair, str):
            self.dropped[pair] += 1
            return
        question = asked_question(pair)
        if question in self._asked:
            self.dropped[DUPLICATE_QUESTION] += 1
            return
        self._asked.add(question)
        self.pairs.append(pair)


def asked_question(pair: Pair) -> str:
    """What tells a text's questions apart: instruction and options, whatever their case.

    Of two questions in the same words, options may ask different things.
    """
    return "\n- ".join((pair.instruction, *pair.options)).casefold()


def structure_pair(question: str, answer: str) -> Pair | str:
    """Recognise the four response formats.

    Returns:
        The pair, or the reason to drop it: `incomplete_reasoning` where one of its marks is there
        without the other, or a reason of `make_pair`. A list of options that is not in the format
        stays a part of the question.
    """
    if not question:
        return "empty_question"
    if not answer:
        return "empty_answer"
    reasoning, steps = "", question.endswith(_STEP_BY_STEP)
    if steps:
        question = question.removesuffix(_STEP_BY_STEP)
        reasoning, mark, answer = answer.rpartition(_THEREFORE)
        answer = answer.strip()
        if not (mark and reasoning.strip() and answer):
            return "incomplete_reasoning"
    elif _STEP_BY_STEP.strip() in question or _THEREFORE in answer:
        return "incomplete_reasoning"
    question, options = _split_options(question)
    return make_pair(question, answer, options, reasoning)


def make_pair(
    instruction: str, response: str, options: Sequence[str] = (), reasoning: str = ""
) -> Pair | str:
    """A pair of the kind that its parts make it.

    Returns:
        The pair, or the reason why it is none: `empty_question`, `empty_answer`, `not_unicode`
        (half of a surrogate pair, which no file can hold), `answer_not_among_options`.
    """
    instruction, response, reasoning = instruction.strip(), response.strip(), reasoning.strip()
    if not instruction:
        return "empty_question"
    if not response:
        return "empty_answer"
    if not _is_unicode("".join((instruction, response, reasoning, *options))):
        return "not_unicode"
    # An option is one line, and stands there once.
    choices = tuple(filter(None, dict.fromkeys(map(_in_one_line, options))))
    if choices:
        response = _in_one_line(response)
    if response not in choices and response.removesuffix(".") in choices:
        response = response.removesuffix(".")  # the sentence's period, not the option's
    if choices and response not in choices:
        return "answer_not_among_options"
    kind: PairKind
    if choices:
        kind = "multiple_choice_cot" if reasoning else "multiple_choice"
    else:
        kind = "chain_of_thought" if reasoning else "free_form"
    return Pair(instruction, response, kind, choices, reasoning)


def unstructure_pair(pair: Pair) -> tuple[str, str]:
    """The question and answer texts from which `structure_pair` makes `pair`."""
    question, answer = pair.instruction, pair.response
    if pair.options:
        question += _OPTIONS_MARK + "\n".join(f"- {option}" for option in pair.options)
    if pair.reasoning:
        question += _STEP_BY_STEP
        answer = f"{pair.reasoning}{_THEREFORE}{answer}"
    return question, answer


def _split_options(question: str) -> tuple[str, Sequence[str]]:
    """A question without its options, and these; empty lines between them do not matter."""
    stem, mark, listing = question.rpartition(_OPTIONS_MARK)
    lines = [line for line in listing.split("\n") if line.strip()]
    if not mark or not lines or not all(re.match(r"- +\S", line) for line in lines):
        return question, ()
    return stem.strip(), [line[2:] for line in lines]


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
