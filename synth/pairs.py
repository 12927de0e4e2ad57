"""From loose questions and answers to structured pairs, with a reason for each one dropped."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.contracts import Pair, PairKind

_OPTIONS_MARK = "\nOptions:\n"
_STEP_BY_STEP = "\nLet's think step by step."
_THEREFORE = "\nTherefore, the answer is "


@dataclass
class ParsedPairs:
    """Pairs that survived parsing, and why the others did not."""

    pairs: list[Pair] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)

    def take(self, pair: Pair | str) -> None:
        """Take a pair, or count the reason that stands in its place."""
        if isinstance(pair, str):
            self.dropped[pair] += 1
        elif any(pair.instruction.casefold() == kept.instruction.casefold() for kept in self.pairs):
            self.dropped["duplicate_question"] += 1
        else:
            self.pairs.append(pair)


def structure_pair(question: str, answer: str) -> Pair | str:
    """Recognise the four response formats.

    Returns:
        The pair, or the reason to drop it: `empty_question`, `empty_answer`,
        `incomplete_reasoning`, `answer_not_among_options`.
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
    question, options = _split_options(question)
    return make_pair(question, answer, options, reasoning)


def make_pair(
    instruction: str, response: str, options: Sequence[str] = (), reasoning: str = ""
) -> Pair | str:
    """A pair of the kind that its parts make it.

    Returns:
        The pair, or the reason why it is none: `empty_question`, `empty_answer`,
        `answer_not_among_options`.
    """
    instruction, response, reasoning = instruction.strip(), response.strip(), reasoning.strip()
    choices = tuple(option.strip() for option in options)
    if not instruction:
        return "empty_question"
    if not response:
        return "empty_answer"
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


def _split_options(question: str) -> tuple[str, tuple[str, ...]]:
    stem, mark, listing = question.rpartition(_OPTIONS_MARK)
    lines = listing.splitlines()
    if not mark or not lines or not all(re.match(r"- \S", line) for line in lines):
        return question, ()
    return stem.strip(), tuple(line[2:].strip() for line in lines)
