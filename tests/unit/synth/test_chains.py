"""Chains: order, breaks, and every document in exactly one."""

import asyncio

import pytest

from pipeline.contracts import Document, Pair, Shot, document_id
from synth.chains import ChainRunner, split_chains
from synth.config import SynthConfig
from synth.engines.protocol import EngineLimits, Generation
from synth.protocols import TunedProtocol
from synth.quality.config import ChecksConfig
from synth.slots import ChainSlots
from synth.tally import Tally
from synth.wire import format_pairs
from synth.writing import ModelWriter

NO_CHECKS = ChecksConfig.model_validate(
    {
        name: {"enabled": False}
        for name in ("length", "repetition", "phrases", "echo", "language", "grounding")
    }
)


class ScriptedEngine:
    """Replies with one pair, or none for texts that hold the word `barren`."""

    def __init__(self, tokenizer) -> None:
        self.tokenizer = tokenizer
        self.prompts: list[str] = []

    async def generate(self, asked, schema=None) -> Generation:
        prompt = self.tokenizer.decode(asked.token_ids)
        self.prompts.append(prompt)
        text = prompt.rpartition("<CON> ")[2].partition(" </CON>")[0]
        await asyncio.sleep(0.001 * len(text))
        pairs = [] if "barren" in text else [Pair(f"About {text}?", text)]
        return Generation(format_pairs(pairs), num_tokens=len(pairs))

    def shutdown(self) -> None:
        pass


def run(tokenizer, texts: list[str], shots_per_chain: int):
    config = SynthConfig(model="m", max_new_tokens=64, checks=NO_CHECKS)
    protocol = TunedProtocol(tokenizer)
    engine = ScriptedEngine(tokenizer)
    documents = [Document(document_id("s", text), "s", text) for text in texts]
    tally = Tally()
    writer = ModelWriter(config, protocol, engine)
    slots = ChainSlots(EngineLimits(max_requests=8))
    runner = ChainRunner(writer, shots_per_chain, {"synthesizer": "scripted"}, slots)
    part = asyncio.run(runner.run(documents, tally))
    return part.chains, tally, engine


def shape(chains) -> list[list[tuple[str, int]]]:
    return [[(shot.text, len(shot.pairs)) for shot in chain.shots] for chain in chains]


def test_a_text_without_pairs_breaks_the_chain(tokenizer) -> None:
    chains, tally, engine = run(tokenizer, ["a", "b barren", "c", "d", "e"], 3)
    assert shape(chains) == [[("a", 1)], [("b barren", 0)], [("c", 1)], [("d", 1), ("e", 1)]]
    assert tally.counts["documents_without_pair"] == 1
    after_break = next(prompt for prompt in engine.prompts if prompt.endswith("c </CON>\n\n"))
    assert "<CON> a" not in after_break


def test_later_rounds_see_earlier_texts_and_pairs(tokenizer) -> None:
    _, _, engine = run(tokenizer, ["a", "b"], 2)
    assert engine.prompts[1].startswith(
        "<s> <CON> a </CON>\n\n<QUE> About a? <ANS> a </END></s><s>"
    )


@pytest.mark.parametrize(("num_texts", "shots"), [(7, 3), (5, 4), (3, 5), (1, 1)])
def test_counts_that_do_not_divide(tokenizer, num_texts: int, shots: int) -> None:
    texts = [f"t{number}" for number in range(num_texts)]
    chains, tally, _ = run(tokenizer, texts, shots)
    assert [text for chain in shape(chains) for text, _ in chain] == texts
    assert tally.counts["documents"] == num_texts


def test_groups_do_not_wait_for_each_other(tokenizer) -> None:
    _, _, engine = run(tokenizer, ["slow " * 40, "x", "quick", "y"], 2)
    finished_order = [prompt.rpartition("<CON> ")[2] for prompt in engine.prompts]
    assert finished_order.index("y </CON>\n\n") < finished_order.index("x </CON>\n\n")


def test_a_chain_is_split_where_a_shot_has_no_pairs() -> None:
    pair = (Pair("q", "a"),)
    shots = [Shot(name, name, pair, {"style": name}) for name in "abc"]
    assert [len(chain.shots) for chain in split_chains("s", shots, {})] == [3]
    shots[1] = Shot("b", "b", (), {"style": "b"})
    chains = list(split_chains("s", shots, {"synthesizer": "x"}))
    assert [[shot.doc_id for shot in chain.shots] for chain in chains] == [["a"], ["b"], ["c"]]
    assert chains[1].shots[0].provenance == {}
    assert chains[0].shots[0].provenance == {"style": "a"}
    assert len({chain.id for chain in chains}) == 3
