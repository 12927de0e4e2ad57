"""What a synthesizer wrote about each text: asked for, all at once, and kept."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from pipeline.contracts import encode
from synth.engines.protocol import Engine, Generation, RequestFailedError
from synth.measuring.held_out import HeldOutText
from synth.protocols import WireProtocol, fit_prompt
from synth.slots import chains_at_once
from synth.tasks import Task

_LEFT_OUT = "shots_left_out_of_prompt"


@dataclass(frozen=True)
class Replies:
    """Replies to one prompt a text."""

    replies: tuple[Generation | None, ...]
    """In the order of the texts; None: the request failed."""
    num_shots: int
    """Earlier examples in all prompts together."""
    seconds: float
    """From the first request to the last reply."""
    events: dict[str, int] = field(default_factory=dict)
    """What had to give for prompts to fit, and requests that failed."""

    def __iter__(self) -> Iterator[Generation | None]:
        """Each text's reply."""
        return iter(self.replies)

    def as_json(self) -> dict[str, Any]:
        """JSON-like values, of which `replies_of` makes the same again."""
        return {
            "replies": [reply and [reply.text, reply.num_tokens] for reply in self.replies],
            "num_shots": self.num_shots,
            "seconds": self.seconds,
            "events": self.events,
        }


def replies_of(values: dict[str, Any]) -> Replies:
    """The replies in a kept record."""
    replies = tuple(reply and Generation(*reply) for reply in values["replies"])
    return Replies(replies, values["num_shots"], values["seconds"], values["events"])


def prompts_key(texts: Sequence[HeldOutText], shots: int) -> str:
    """Key of what is asked: the texts and the examples before each, in their order."""
    digest = hashlib.blake2b(digest_size=12)
    for text in texts:
        earlier = [[turn.text, turn.pairs] for turn in text.earlier[:shots]]
        digest.update(encode([text.text, earlier]))
    return digest.hexdigest()


async def ask(
    engine: Engine,
    protocol: WireProtocol,
    texts: Sequence[HeldOutText],
    shots: int,
    prompt_budget: int,
    note: Callable[[int], None],
) -> Replies:
    """Ask for pairs about each text, as many at once as keep the engine full.

    Args:
        engine: what writes.
        protocol: how prompts are built.
        texts: in the order in which they are asked.
        shots: most earlier examples in a prompt.
        prompt_budget: most tokens of a prompt.
        note: told of each reply how many tokens it has.

    Raises:
        JobFailedError: there is no engine any more.
        InputError: not even an empty text fits, or the engine refuses every request.
    """
    slots = asyncio.Semaphore(chains_at_once(engine.limits.max_requests))
    events, num_shots = Counter[str](), 0

    async def ask_about(text: HeldOutText) -> Generation | None:
        nonlocal num_shots
        async with slots:
            turns = text.earlier[:shots]
            fitted = await asyncio.to_thread(
                fit_prompt, protocol, turns, text.text, Task(), prompt_budget
            )
            events.update(fitted.events)
            num_shots += len(turns) - fitted.events[_LEFT_OUT]
            try:
                reply = await engine.generate(fitted.prompt)
            except RequestFailedError:
                events["requests_failed"] += 1
                reply = None
        note(reply.num_tokens if reply else 0)
        return reply

    started_s = monotonic()
    replies = await asyncio.gather(*map(ask_about, texts))
    return Replies(tuple(replies), num_shots, monotonic() - started_s, dict(events))
