"""Asking about texts, and keeping what came."""

import asyncio
import json

from pipeline.contracts import Pair
from synth.config import SynthConfig
from synth.engines.protocol import EngineLimits, Generation, RequestFailedError
from synth.measuring.held_out import HeldOutText
from synth.measuring.replies import Replies, ask, prompts_key, replies_of
from synth.protocols import make_protocol
from synth.slots import chains_at_once
from synth.tasks import Task, Turn

EARLIER = (
    Turn("a treaty of peace", Task(), (Pair("Of what?", "peace"),)),
    Turn("the bank " * 40, Task(), (Pair("What?", "the bank"),)),
)
TEXTS = [HeldOutText(str(n), "s", f"text {n}", earlier=EARLIER) for n in range(40)]


class Scripted:
    """An engine that writes back the prompt, refuses one text, and counts what it has at once."""

    def __init__(self, tokenizer) -> None:
        self.tokenizer, self.limits = tokenizer, EngineLimits(max_requests=4)
        self.prompts: list[str] = []
        self.num_running = self.most_running = 0

    async def generate(self, prompt, schema=None) -> Generation:
        assert schema is None
        asked = self.tokenizer.decode(prompt.token_ids)
        self.prompts.append(asked)
        self.num_running += 1
        self.most_running = max(self.most_running, self.num_running)
        await asyncio.sleep(0.001)
        self.num_running -= 1
        if "text 7 " in asked:
            raise RequestFailedError("no sevens")
        return Generation(asked, len(prompt))


def replies_for(tokenizer, shots: int, budget: int) -> tuple[Replies, Scripted, list[int]]:
    engine, noted = Scripted(tokenizer), list[int]()
    protocol = make_protocol(SynthConfig(model="m"), tokenizer)
    return asyncio.run(ask(engine, protocol, TEXTS, shots, budget, noted.append)), engine, noted


def test_each_text_is_asked_about_after_its_examples(tokenizer) -> None:
    replies, engine, noted = replies_for(tokenizer, 1, 1000)
    assert replies.replies[3].text == (
        "<s> <CON> a treaty of peace </CON>\n\n<QUE> Of what? <ANS> peace </END></s>"
        "<s> <CON> text 3 </CON>\n\n"
    )
    assert [reply is None for reply in replies] == [n == 7 for n in range(40)]
    assert replies.events == {"requests_failed": 1}
    assert replies.num_shots == 40
    assert sorted(noted) == sorted(reply.num_tokens if reply else 0 for reply in replies)
    assert engine.most_running == chains_at_once(4)
    assert replies.seconds > 0


def test_what_does_not_fit_is_counted(tokenizer) -> None:
    replies, engine, _ = replies_for(tokenizer, 2, 200)
    assert replies.events["shots_left_out_of_prompt"] == 40
    assert replies.num_shots == 40
    assert all("treaty" not in prompt for prompt in engine.prompts)


def test_replies_come_back_as_they_were_kept() -> None:
    replies = Replies((Generation("a", 3), None), 2, 0.5, {"requests_failed": 1})
    assert replies_of(json.loads(json.dumps(replies.as_json()))) == replies


def test_prompts_are_known_by_texts_and_examples() -> None:
    keys = [prompts_key(TEXTS, 0), prompts_key(TEXTS, 1), prompts_key(TEXTS[1:], 1)]
    assert len(set(keys)) == 3
    assert prompts_key(TEXTS, 2) == prompts_key(TEXTS, 3)
    other_gold = [HeldOutText("0", "s", "text 0", (Pair("a", "b"),))]
    assert prompts_key(other_gold, 0) == prompts_key(TEXTS[:1], 0)
