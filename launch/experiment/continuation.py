r"""A task made from held-out texts: which of four sentences goes on with a passage?

    text A: ... passage. | ending a        A: passage  (a) b  c  d
    text B: ... passage. | ending b   ─▶   B: passage   a (b) c  d
    text C, text D                         C, D: the same four endings

Four passages of four texts share their four endings, each of which is right once: a model that
only knows which sentence is likely by itself scores 0.25, as by chance. What is measured is how
much likelier the passage makes an ending (`acc_mutual_info` of lm-evaluation-harness).
"""

import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pipeline import storage
from pipeline.errors import InputError
from synth.sentences import SENTENCE_END

_NUM_ENDINGS = 4
_PASSAGE_CHARS = (200, 600)
_ENDING_CHARS = (60, 240)

_TASK = """\
# Made by `ipt compare` from the held-out texts; see launch/experiment/continuation.py.
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {name}.jsonl
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{passage}}}}"
doc_to_choice: endings
doc_to_target: answer
metric_list:
  - metric: acc_mutual_info
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""


@dataclass(frozen=True)
class Question:
    """A passage, and which of its endings is the text's own."""

    passage: str
    endings: list[str]
    answer: int


def make_questions(texts: Sequence[str], num_questions: int, seed: int) -> list[Question]:
    """Draw passages from texts, in groups of four of different texts and of like endings.

    Args:
        texts: at least four, long enough to have passages.
        num_questions: at most so many.
        seed: decides which.

    Raises:
        InputError: too few texts for a single group.
    """
    stream = random.Random(seed)
    openings = [_passages(text) for text in texts]
    places = [(text, at) for text, found in enumerate(openings) for at in range(len(found))]
    stream.shuffle(places)
    # Neighbours in length, so that an ending's length does not tell which passage it follows.
    chosen = sorted(places[:num_questions], key=lambda place: len(openings[place[0]][place[1]][1]))
    questions: list[Question] = []
    for group in _groups(chosen):
        pairs = [openings[text][at] for text, at in group]
        endings = [ending for _, ending in pairs]
        if len(set(endings)) == _NUM_ENDINGS:
            questions += [
                Question(passage, endings, number) for number, (passage, _) in enumerate(pairs)
            ]
    if not questions:
        raise InputError(
            f"compare.heldout.inputs: {len(texts)} texts give no question for "
            f"compare.continuation, which needs four texts of several sentences; add texts, or "
            f"leave the section out"
        )
    return questions


def write_task(folder: str, name: str, questions: Sequence[Question]) -> None:
    """Write a task file of lm-evaluation-harness and its questions beside it.

    Args:
        folder: where.
        name: of the task.
        questions: its questions.
    """
    lines = [json.dumps(asdict(question), ensure_ascii=False) + "\n" for question in questions]
    storage.write_atomic(storage.join(folder, f"{name}.jsonl"), "".join(lines).encode())
    storage.write_atomic(storage.join(folder, f"{name}.yaml"), _TASK.format(name=name).encode())


def _groups(places: Sequence[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Places in groups of four different texts, in their order; what is left over has no group."""
    groups: list[list[tuple[int, int]]] = []
    waiting: list[list[tuple[int, int]]] = []
    for place in places:
        for group in waiting:
            if all(place[0] != text for text, _ in group):
                group.append(place)
                break
        else:
            group = [place]
            waiting.append(group)
        if len(group) == _NUM_ENDINGS:
            waiting.remove(group)
            groups.append(group)
    return groups


def _passages(text: str) -> list[tuple[str, str]]:
    """Passages of a text that do not overlap, each with the sentence that follows."""
    sentences = [sentence for part in _sentences(text) if (sentence := " ".join(part.split()))]
    found, passage = [], ""
    shortest, longest = _PASSAGE_CHARS
    for sentence in sentences:
        is_ending = _ENDING_CHARS[0] <= len(sentence) <= _ENDING_CHARS[1]
        if shortest <= len(passage) <= longest and is_ending:
            found.append((passage, sentence))
            passage = ""
        elif len(passage) + len(sentence) >= longest:
            passage = sentence
        else:
            passage = f"{passage} {sentence}".lstrip()
    return found


def _sentences(text: str) -> list[str]:
    ends = [0, *(match.end() for match in SENTENCE_END.finditer(text)), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(ends)]
