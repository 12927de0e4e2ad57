"""Any instruct model as a synthesizer: it is shown one example and asked for more of its kind."""

import re
from collections.abc import Sequence

from pipeline.contracts import Pair, Shot
from synth.pairs import ParsedPairs, unstructure_pair

_SYSTEM = (
    "You write reading-comprehension questions and answers. Ask only about facts stated in the "
    "passage, and take each answer from the passage."
)
_REQUEST = (
    "Write four different questions about this passage, each with a short answer taken from it. "
    "Use exactly this form:\nQuestion: ...\nAnswer: ..."
)
_EXAMPLE = Shot(
    doc_id="",
    text=(
        "The lighthouse at Cape Orrin was built in 1871 by the engineer Anna Vell. It burned whale "
        "oil until 1903, when electric lamps were installed. Fishermen still steer by it at night."
    ),
    pairs=(
        Pair("Who built the lighthouse at Cape Orrin?", "the engineer Anna Vell"),
        Pair("What did the lighthouse burn until 1903?", "whale oil"),
        Pair("When were electric lamps installed?", "1903"),
        Pair("Who still steers by the lighthouse at night?", "Fishermen"),
    ),
)
_PAIR = re.compile(
    r"^\W*Question(?: \d+)?\W*?:[ *]*(?P<question>.*?)^\W*Answer(?: \d+)?\W*?:[ *]*(?P<answer>.*?)"
    r"(?=^\W*Question(?: \d+)?\W*?:|\Z)",
    re.MULTILINE | re.DOTALL,
)


def build_messages(history: Sequence[Shot], text: str) -> list[dict[str, str]]:
    """The conversation that asks for pairs about `text`: instructions, examples, earlier shots."""
    messages = [{"role": "system", "content": _SYSTEM}]
    for shot in (_EXAMPLE, *history):
        messages.append(_ask(shot.text))
        messages.append({"role": "assistant", "content": format_pairs(shot.pairs)})
    return [*messages, _ask(text)]


def format_pairs(pairs: Sequence[Pair]) -> str:
    """Pairs as the model is asked to write them."""
    return "\n\n".join(
        f"Question: {question}\nAnswer: {answer}"
        for question, answer in map(unstructure_pair, pairs)
    )


def parse_pairs(output: str, *, is_finished: bool) -> ParsedPairs:
    """Read a model's reply; a pair that the reply breaks off in is dropped."""
    parsed = ParsedPairs()
    matches = list(_PAIR.finditer(output))
    if not matches:
        parsed.dropped["no_pair_in_reply"] += 1
        return parsed
    has_loose_end = output[matches[-1].end() :].strip() != ""
    if has_loose_end or not is_finished:
        parsed.dropped["unfinished_pair"] += 1
    if not is_finished and not has_loose_end:
        matches.pop()
    for match in matches:
        parsed.add(match["question"], match["answer"])
    return parsed


def _ask(text: str) -> dict[str, str]:
    return {"role": "user", "content": f"Passage:\n{text}\n\n{_REQUEST}"}
