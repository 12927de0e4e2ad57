"""Prompts as token ids, within budget."""

from itertools import pairwise
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from pipeline.contracts import Chain, Pair, Shot
from pipeline.errors import InputError
from pipeline.packing.tokens import Tokeniser
from pipeline.pretrained import load_tokenizer
from synth import wire
from synth.config import SynthConfig
from synth.protocols import TunedProtocol, fit_prompt, make_protocol
from synth.tasks import Task, Turn

TASK = Task()
TURNS = [Turn(f"text number {n}", TASK, (Pair(f"q{n}", f"a{n}"),)) for n in range(3)]


def test_tuned_prompt_never_doubles_bos(tokenizer) -> None:
    ids = TunedProtocol(tokenizer).encode_prompt(TURNS[:1], "now", TASK).token_ids
    assert tokenizer.decode(ids) == (
        "<s> <CON> text number 0 </CON>\n\n<QUE> q0 <ANS> a0 </END></s><s> <CON> now </CON>\n\n"
    )
    bos = tokenizer.bos_token_id
    assert ids.count(bos) == 2
    assert (bos, bos) not in pairwise(ids)


@pytest.fixture(scope="module")
def joining(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer with one token for an empty line, but for one that something follows: GPT-2's."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(["the law\n\n"] * 50, trainer)
    folder = tmp_path_factory.mktemp("joining")
    marks = {"bos_token": "<s>", "eos_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=core, **marks).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("text", ["The law.", "The law.\n\n", "", "\u5899\u9ad8", "a </s> b"])
def test_a_prompt_has_the_tokens_that_tuning_examples_begin_with(joining: Path, text: str) -> None:
    tokenizer = load_tokenizer(str(joining))
    alone = tokenizer(wire.format_context(text), add_special_tokens=False)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(alone[-1]) == "\u010a\u010a", "this shows nothing"
    shots = [Shot(f"doc{n}", turn.text, turn.pairs) for n, turn in enumerate(TURNS)]
    shots.append(Shot("now", text, (Pair("q", "a"),)))
    rendered = [wire.WireRenderer()(Chain("id", "s", (shot,), {}), seed=0) for shot in shots]
    examples = [
        example.ids.tolist()
        for example in Tokeniser(str(joining), always_bos=True).encode(rendered, "pairs")
    ]
    protocol = TunedProtocol(tokenizer)
    for turns in ([], TURNS):
        prompt = protocol.encode_prompt(turns, text, TASK).token_ids
        tuned = [token for example in examples[3 - len(turns) :] for token in example]
        assert prompt == tuned[: len(prompt)]
        assert tokenizer.decode(prompt).endswith(f" <CON> {text} </CON>\n\n")
        assert tokenizer.decode(tuned[len(prompt) :]) == "<QUE> q <ANS> a </END></s>"


def test_marks_inside_a_text_stay_text(tokenizer) -> None:
    ids = TunedProtocol(tokenizer).encode_prompt((), "struck <s>out</s>", TASK).token_ids
    assert ids.count(tokenizer.bos_token_id) == 1
    assert tokenizer.eos_token_id not in ids
    assert "struck <s>out</s>" in tokenizer.decode(ids)


def test_shots_go_oldest_first_and_only_as_many_as_must(tokenizer) -> None:
    protocol = TunedProtocol(tokenizer)
    budget = len(protocol.encode_prompt(TURNS[1:], "now", TASK))
    fitted = fit_prompt(protocol, TURNS, "now", TASK, budget)
    assert fitted.prompt == protocol.encode_prompt(TURNS[1:], "now", TASK)
    assert fitted.events == {"shots_left_out_of_prompt": 1}


def test_a_long_text_is_cut_at_a_sentence_end(tokenizer) -> None:
    protocol = TunedProtocol(tokenizer)
    text = "The house met. " * 50
    fitted = fit_prompt(protocol, TURNS, text, TASK, 120)
    assert 60 < len(fitted.prompt.token_ids) <= 120
    assert tokenizer.decode(fitted.prompt.token_ids).endswith("met. </CON>\n\n")
    assert fitted.events == {"shots_left_out_of_prompt": 3, "texts_cut_in_prompt": 1}


@pytest.mark.parametrize(
    ("sentence", "end"),
    [
        ("\u5899\u9ad8\u4e09\u7c73\uff01", "\uff01"),
        ("\u8c01\u5728\u90a3\u91cc\uff1f\u300d", "\uff1f\u300d"),
        ('"Who goes there?" ', '?"'),
        ("A line without a stop\n", "stop"),
        ("words ", "words"),
    ],
)
def test_sentences_of_many_kinds_end_a_cut(tokenizer, sentence: str, end: str) -> None:
    fitted = fit_prompt(TunedProtocol(tokenizer), (), sentence * 60, TASK, 200)
    assert len(fitted.prompt.token_ids) <= 200
    shown = tokenizer.decode(fitted.prompt.token_ids)
    assert shown.endswith(f"{end} </CON>\n\n") or shown.endswith(f"{end}\n </CON>\n\n")


def test_a_sentence_end_far_back_is_taken_before_a_word(tokenizer) -> None:
    text = "It was so. " * 8 + "and on and on " * 40
    fitted = fit_prompt(TunedProtocol(tokenizer), (), text, TASK, 220)
    assert tokenizer.decode(fitted.prompt.token_ids).endswith("It was so. </CON>\n\n")


def test_no_room_for_any_text_is_an_error(tokenizer) -> None:
    with pytest.raises(InputError, match=r"raise synth\.max_model_len"):
        fit_prompt(TunedProtocol(tokenizer), (), "some text", TASK, 2)


def test_a_tokenizer_without_what_the_protocol_needs_is_refused(tokenizer) -> None:
    template, tokenizer.chat_template = tokenizer.chat_template, None
    try:
        with pytest.raises(InputError, match="chat template"):
            make_protocol(SynthConfig(model="m", protocol="chat"), tokenizer)
    finally:
        tokenizer.chat_template = template
