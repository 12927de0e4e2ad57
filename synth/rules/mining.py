"""Reading-comprehension pairs mined from one text by rules; no model.

Source: AdaptLLM, Cheng et al. 2024, arXiv 2309.09530, whose task kinds these are, with other tests
of what can stand by itself, other phrasings, and further tasks (examples, definitions, numbers,
lists). Candidates cost next to nothing; only those that are drawn are built and checked.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence

from pipeline.contracts import Pair
from synth.rules.candidates import Candidate
from synth.rules.causes import find_cause_effect
from synth.rules.config import RulesConfig, RuleTask
from synth.rules.connections import find_entailment, find_example, find_paraphrase
from synth.rules.facts import find_definition, find_gap, find_list
from synth.rules.languages import guess_language, load_language
from synth.rules.layout import find_completion, find_summary, find_title, find_words_to_text
from synth.rules.links import Link, find_links
from synth.rules.sentences import Passage, read_passage

Finder = Callable[[Passage, Sequence[Link]], list[Candidate]]

FINDERS: dict[RuleTask, Finder] = {
    "entailment": find_entailment,
    "cause_effect": find_cause_effect,
    "paraphrase": find_paraphrase,
    "example": find_example,
    "definition": find_definition,
    "gap": find_gap,
    "list": find_list,
    "summary": find_summary,
    "title": find_title,
    "words_to_text": find_words_to_text,
    "completion": find_completion,
}
# A text of which so many candidates of a task came to nothing is not made for that task.
_MAX_FAILURES = 30


def mine_pairs(
    text: str, identity: str, limits: RulesConfig, language: str | None = None
) -> list[Pair]:
    """Pairs about `text`, none with another's question or about another's sentences.

    Args:
        text: any string.
        identity: the document's content id; with the text and the limits it decides everything.
        limits: how many pairs, of which tasks.
        language: ISO 639-1 code of the text; None: guessed (`synth.rules.languages`).

    Returns:
        At most `limits.max_pairs` pairs, in the order in which they were drawn.
    """
    return [pair for _, pair in mine_tasks(text, identity, limits, language)]


def mine_tasks(
    text: str, identity: str, limits: RulesConfig, language: str | None = None
) -> list[tuple[RuleTask, Pair]]:
    """As `mine_pairs`, each pair with the task that it was mined for."""
    code = guess_language(text) if language is None else language
    passage = read_passage(text, load_language(code))
    if not passage.starts and not passage.listings:
        return []
    # Bytes: a string that is no valid Unicode could not seed.
    stream = random.Random(identity.encode("utf-8", "surrogatepass"))
    links = find_links(passage)
    weights = limits.weights()
    open_tasks = {
        task: candidates for task in weights if (candidates := FINDERS[task](passage, links))
    }
    mined: list[tuple[RuleTask, Pair]] = []
    questions: set[str] = set()
    taken: set[int] = set()
    counts = dict.fromkeys(open_tasks, 0)
    while open_tasks and len(mined) < limits.max_pairs:
        task = _draw_task(open_tasks, weights, stream)
        found = _next_pair(open_tasks[task], taken, questions, stream)
        if found is None:
            del open_tasks[task]
            continue
        candidate, pair = found
        taken.update(candidate.sentences)
        questions.add(pair.instruction.casefold())
        mined.append((task, pair))
        counts[task] += 1
        if counts[task] == limits.max_per_task:
            del open_tasks[task]
    return mined


def _draw_task(
    tasks: Iterable[RuleTask], weights: Mapping[RuleTask, float], stream: random.Random
) -> RuleTask:
    """A task, by weight; quicker than `random.choices` for one draw."""
    left = stream.random() * sum(weights[task] for task in tasks)
    for task in tasks:
        left -= weights[task]
        if left < 0:
            break
    return task


def _next_pair(
    candidates: list[Candidate], taken: set[int], questions: set[str], stream: random.Random
) -> tuple[Candidate, Pair] | None:
    """Draw and build until a pair comes of it; what was drawn leaves `candidates`."""
    num_failures = 0
    while candidates and num_failures < _MAX_FAILURES:
        position = int(stream.random() * len(candidates))
        candidates[position], candidates[-1] = candidates[-1], candidates[position]
        candidate = candidates.pop()
        if not taken.isdisjoint(candidate.sentences):
            continue
        pair = candidate.build(stream)
        if pair is not None and pair.instruction.casefold() not in questions:
            return candidate, pair
        num_failures += 1
    return None
