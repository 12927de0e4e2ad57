"""The published wire format, to the letter, and what of it a synthesizer is trained on."""

from pipeline.contracts import Chain, Pair, Shot
from pipeline.packing.tokens import Tokeniser
from synth.protocols import TunedProtocol
from synth.tasks import Task
from synth.wire import WireRenderer, parse_pairs

PAIRS = (
    Pair("Who spoke?", "The president"),
    Pair("Which?", "b", "multiple_choice", ("a", "b")),
    Pair("Why?", "yes", "chain_of_thought", (), "Because it rained."),
)
CHAIN = Chain("id", "squad", (Shot("doc", "A text.", PAIRS),), {})
WRITTEN = (
    "<QUE> Who spoke? <ANS> The president </END>\n\n"
    "<QUE> Which?\nOptions:\n- a\n- b <ANS> b </END>\n\n"
    "<QUE> Why?\nLet's think step by step. <ANS> Because it rained.\nTherefore, the answer is yes "
    "</END>"
)


def test_an_example_reads_as_published_and_its_pairs_come_back() -> None:
    rendered = WireRenderer()(CHAIN, seed=0)
    assert rendered.text == f" <CON> A text. </CON>\n\n{WRITTEN}"
    assert parse_pairs(WRITTEN).pairs == list(PAIRS)


def test_spans_hold_every_character_of_the_pairs_and_none_of_the_context() -> None:
    rendered = WireRenderer()(CHAIN, seed=0)
    pieces = [rendered.text[span.start : span.end] for span in rendered.spans]
    assert "".join(pieces) == WRITTEN
    assert pieces[:2] == ["<QUE> Who spoke? <ANS>", " The president </END>\n\n"]
    assert [span.role for span in rendered.spans] == ["instruction", "response"] * 3
    assert [span.kind for span in rendered.spans[::2]] == [pair.kind for pair in PAIRS]


def test_what_is_trained_begins_where_the_prompt_of_synthesis_ends(
    tokenizer, tokenizer_folder
) -> None:
    tokeniser = Tokeniser(str(tokenizer_folder), always_bos=True)
    (text,) = tokeniser.encode([WireRenderer()(CHAIN, seed=0)], "pairs")
    prompt = TunedProtocol(tokenizer).encode_prompt((), "A text.", Task()).token_ids
    assert text.ids[: len(prompt)].tolist() == prompt
    assert text.spans is not None
    trained = [place for start, end in text.spans.tolist() for place in range(start, end)]
    assert trained == list(range(len(prompt), len(text.ids)))
    assert text.ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(text.ids[len(prompt) :]) == f"{WRITTEN}</s>"
