"""From a document to its pairs: attempts, checks, the round trip."""

import asyncio
import json
from collections.abc import Callable

import pytest

from pipeline.contracts import Document, document_id
from synth.config import SynthConfig
from synth.engines.protocol import Generation
from synth.protocols import make_protocol
from synth.tally import Tally
from synth.writing import ModelWriter, RuleWriter, Written

TEXT = (
    "The canal was dug between 1817 and 1825 by farmers along its route. It cut the cost of "
    "carrying wheat to New York because barges replaced wagons. Therefore towns grew along it."
)
DOCUMENT = Document(document_id("s", TEXT), "s", TEXT)
GOOD = ("When was the canal begun and finished?", "between 1817 and 1825")
UNGROUNDED = ("Who paid for the digging of the canal?", "a London bank with Dutch partners")


class Replies:
    """An engine that gives scripted replies, in order, and keeps what it was asked."""

    def __init__(self, tokenizer, reply: Callable[[str, int], str]) -> None:
        self.tokenizer, self.reply = tokenizer, reply
        self.prompts: list[str] = []
        self.schemas: list[dict | None] = []

    async def generate(self, prompt, schema=None) -> Generation:
        self.prompts.append(self.tokenizer.decode(prompt.token_ids))
        self.schemas.append(schema)
        text = self.reply(self.prompts[-1], len(self.prompts) - 1)
        return Generation(text, num_tokens=len(text.split()))

    def shutdown(self) -> None:
        pass


def as_json(*pairs: tuple[str, str]) -> str:
    return json.dumps({"pairs": [{"instruction": q, "response": a} for q, a in pairs]})


def write(tokenizer, reply, **settings) -> tuple[Written, Tally, Replies]:
    config = SynthConfig.model_validate(
        {"model": "m", "protocol": "chat", "styles": {"faq": 1}, "temperature": 0.7, **settings}
    )
    engine = Replies(tokenizer, reply)
    writer = ModelWriter(config, make_protocol(config, tokenizer), engine)
    tally = Tally()
    return asyncio.run(writer.write((), DOCUMENT, tally)), tally, engine


def test_surviving_pairs_come_with_how_they_were_asked_for(tokenizer) -> None:
    written, tally, engine = write(tokenizer, lambda *_: as_json(GOOD, UNGROUNDED))
    assert [(pair.instruction, pair.response) for pair in written.pairs] == [GOOD]
    assert [(pair.instruction, reason) for pair, reason, _ in written.dropped] == [
        (UNGROUNDED[0], "ungrounded")
    ]
    assert written.provenance["style"] == "faq"
    assert len(written.provenance["prompt"]) == 16
    assert engine.schemas[0] is not None
    assert tally.counts["output_tokens"] > 0


def test_a_text_is_asked_again_until_a_pair_survives(tokenizer) -> None:
    def reply(_: str, number: int) -> str:
        return as_json(GOOD if number == 2 else UNGROUNDED)

    written, tally, engine = write(tokenizer, reply, attempts=5)
    assert len(engine.prompts) == 3
    assert len(written.pairs) == 1
    assert [reason for _, reason, _ in written.dropped] == ["ungrounded"] * 2
    assert tally.counts["attempts_repeated"] == 2


def test_attempts_end(tokenizer) -> None:
    written, _, engine = write(tokenizer, lambda *_: "no JSON", attempts=3)
    assert written.pairs == ()
    assert written.provenance == {}
    assert len(engine.prompts) == 3


def test_unconstrained_replies_are_read_as_they_come(tokenizer) -> None:
    reply = f"Of course! {as_json(GOOD)}"
    written, _, engine = write(tokenizer, lambda *_: reply, constrained=False)
    assert engine.schemas == [None]
    assert len(written.pairs) == 1


def test_a_style_that_needs_answers_is_not_asked_of_a_text_without_any(tokenizer) -> None:
    config = SynthConfig(model="m", protocol="chat", styles={"answer_first": 1})
    engine = Replies(tokenizer, lambda *_: "")
    writer = ModelWriter(config, make_protocol(config, tokenizer), engine)
    tally = Tally()
    written = asyncio.run(writer.write((), Document("d", "s", "Oh."), tally))
    assert written.pairs == ()
    assert engine.prompts == []
    assert tally.counts["fragments_dropped.no_answer_in_text"] == 1


@pytest.mark.parametrize(
    ("second", "survives"), [("1817 and 1825", True), ("by a London bank", False)]
)
def test_round_trip_through_both_protocols(tokenizer, second: str, survives: bool) -> None:
    checks = {"round_trip": {"enabled": True}}

    def reply(_: str, number: int) -> str:
        return as_json(GOOD) if number == 0 else second

    written, _, engine = write(tokenizer, reply, checks=checks)
    assert bool(written.pairs) is survives
    assert engine.schemas[1] is None
    assert GOOD[0] in engine.prompts[1]
    assert engine.prompts[1].endswith("assistant:")
    if not survives:
        assert written.dropped[0][1] == "answers_disagree"

    def wire_reply(_: str, number: int) -> str:
        return f"<QUE> {GOOD[0]} <ANS> {GOOD[1]} </END>" if number == 0 else f" {second} </END>"

    written, _, engine = write(tokenizer, wire_reply, protocol="tuned", checks=checks)
    assert bool(written.pairs) is survives
    assert engine.prompts[1].endswith(f"<QUE> {GOOD[0]} <ANS>")


def test_in_a_linked_style_a_disagreement_takes_what_follows_along(tokenizer) -> None:
    turns = [
        ("What was dug between 1817 and 1825?", "The canal"),
        ("And who dug the canal?", "farmers along its route"),
        ("What did barges replace there?", "wagons"),
    ]

    def reply(prompt: str, number: int) -> str:
        if number == 0:
            return as_json(*turns)
        return "nobody knows that" if turns[1][0] in prompt else turns[0][1]

    written, _, _ = write(
        tokenizer, reply, styles={"dialogue": 1}, checks={"round_trip": {"enabled": True}}
    )
    assert [pair.instruction for pair in written.pairs] == [turns[0][0]]
    assert [reason for _, reason, _ in written.dropped] == [
        "answers_disagree",
        "follows_a_dropped_pair",
    ]


def test_rules_need_no_model() -> None:
    writer = RuleWriter(SynthConfig(protocol="rules"))
    tally = Tally()
    written = asyncio.run(writer.write((), DOCUMENT, tally))
    assert written.pairs
    assert written.provenance == {"style": "rules"}
    mined = {name: count for name, count in tally.counts.items() if name.startswith("mined.")}
    assert sum(mined.values()) == len(written.pairs) + len(written.dropped)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"protocol": "chat"}, "needs synth.model"),
        ({"protocol": "rules", "checks": {"round_trip": {"enabled": True}}}, "needs a model"),
        ({"model": "m", "attempts": 2}, "temperature 0"),
    ],
)
def test_settings_that_cannot_work_together_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SynthConfig.model_validate(settings)
