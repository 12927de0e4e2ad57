"""The fake engine and its process."""

import asyncio
import os
import signal

import pytest

from synth.config import SynthConfig
from synth.engines.fake_engine import FakeEngine
from synth.engines.protocol import EngineDiedError, Prompt


def make(tokenizer, **fake) -> FakeEngine:
    return FakeEngine(
        SynthConfig.model_validate({"model": "m", "engine": {"kind": "fake", "fake": fake}}),
        tokenizer,
    )


def prompt_of(tokenizer, text: str) -> Prompt:
    return Prompt(tokenizer(text)["input_ids"])


def test_the_same_prompt_gets_the_same_reply(tokenizer) -> None:
    engine = make(tokenizer)
    prompt = prompt_of(tokenizer, "war and peace of nations")

    async def ask_twice() -> list:
        return [await engine.generate(prompt) for _ in range(2)]

    first, second = asyncio.run(ask_twice())
    engine.shutdown()
    assert first == second
    assert first.num_tokens > 0


@pytest.mark.parametrize("fault", ["die", "exhaust_memory"])
def test_a_fault_ends_the_process_with_all_requests(tokenizer, fault: str) -> None:
    engine = make(tokenizer, delay_s=0.2, faults={"poison": fault})

    async def ask() -> list:
        texts = ["the senate", "poison", "the house"]
        return await asyncio.gather(
            *(engine.generate(prompt_of(tokenizer, text)) for text in texts),
            return_exceptions=True,
        )

    replies = asyncio.run(ask())
    assert isinstance(replies[1], EngineDiedError)
    assert "ended with -9" in str(replies[1])
    engine.shutdown()


def test_a_dead_process_takes_no_more_requests(tokenizer) -> None:
    engine = make(tokenizer)

    async def ask() -> None:
        await engine.generate(prompt_of(tokenizer, "first"))
        os.kill(engine._process.pid, signal.SIGKILL)
        await asyncio.sleep(0.2)
        await engine.generate(prompt_of(tokenizer, "second"))

    with pytest.raises(EngineDiedError):
        asyncio.run(ask())
    engine.shutdown()
