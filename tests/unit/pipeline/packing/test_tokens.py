"""Texts to tokens, and which of them are trained on."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import processors
from transformers import AutoTokenizer

from pipeline.contracts import RenderedText, Span
from pipeline.errors import InputError
from pipeline.packing.tokens import Tokeniser

TEXT = "Who was first? George Washington. And who next? John Adams"


PIECES = ["Who was first?", "George Washington.", "And who next?", "John Adams"]


def exchanges(text: str = TEXT) -> RenderedText:
    spans, at = [], 0
    for number, piece in enumerate(PIECES):
        start = text.index(piece, at)
        at = start + len(piece)
        spans.append(Span(start, at, "response" if number % 2 else "instruction", f"kind {number}"))
    return RenderedText(text, tuple(spans))


@pytest.fixture(scope="module")
def tokeniser(tokenizer_folder: Path) -> Tokeniser:
    return Tokeniser(str(tokenizer_folder))


def decoded(tokenizer_folder: Path, ids: np.ndarray, spans: np.ndarray | None) -> list[str]:
    assert spans is not None
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    return [tokenizer.decode(ids[start:end].tolist()).strip() for start, end in spans]


def test_marks_stand_around_the_text(tokeniser: Tokeniser, tokenizer_folder: Path) -> None:
    [text] = tokeniser.encode([exchanges()], None)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    assert text.spans is None
    assert text.ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(text.ids[:-1].tolist(), skip_special_tokens=True) == TEXT
    assert text.ids.dtype == tokeniser.dtype


def test_responses_and_the_end_of_the_last_are_trained_on(
    tokeniser: Tokeniser, tokenizer_folder: Path
) -> None:
    [text] = tokeniser.encode([exchanges()], "responses")
    eos = AutoTokenizer.from_pretrained(tokenizer_folder).eos_token
    assert decoded(tokenizer_folder, text.ids, text.spans) == [
        "George Washington.",
        f"John Adams{eos}",
    ]


def test_a_text_that_goes_on_behind_its_last_response_does_not_train_its_end(
    tokeniser: Tokeniser, tokenizer_folder: Path
) -> None:
    [text] = tokeniser.encode([exchanges(f"{TEXT} and so on.")], "responses")
    assert decoded(tokenizer_folder, text.ids, text.spans)[-1] == "John Adams"


def test_pairs_have_their_instructions_too(tokeniser: Tokeniser, tokenizer_folder: Path) -> None:
    [text] = tokeniser.encode([exchanges(f"A text about it.\n\n{TEXT}")], "pairs")
    found = " ".join(decoded(tokenizer_folder, text.ids, text.spans))
    assert "A text" not in found
    assert found.startswith("Who was first? George Washington.")


def test_responses_are_placed_with_the_kinds_of_their_pairs(
    tokeniser: Tokeniser, tokenizer_folder: Path
) -> None:
    [text] = tokeniser.encode([exchanges()], "responses")
    found = tokeniser.responses(exchanges())
    assert text.spans is not None
    assert [list(each[:2]) for each in found] == text.spans.tolist()
    assert [each[2] for each in found] == ["kind 1", "kind 3"]
    assert tokeniser.responses(RenderedText("Only text.")) == []


def test_a_text_without_pairs_has_nothing_to_train_on(tokeniser: Tokeniser) -> None:
    [text] = tokeniser.encode([RenderedText("Only text.")], "responses")
    assert text.spans is not None
    assert len(text.spans) == 0


def test_a_special_token_in_a_text_is_text(tokeniser: Tokeniser, tokenizer_folder: Path) -> None:
    eos = AutoTokenizer.from_pretrained(tokenizer_folder)
    [text] = tokeniser.encode([RenderedText(f"a {eos.eos_token} b")], None)
    assert (text.ids == eos.eos_token_id).sum() == 1


def test_bos_begins_a_text_once_where_it_is_always_wanted(
    tokeniser: Tokeniser, tokenizer_folder: Path, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    bos = tokenizer.bos_token_id
    assert bos not in tokenizer("a")["input_ids"], "with a BOS of its own this shows nothing"
    [plain] = tokeniser.encode([exchanges()], "responses")
    [marked] = Tokeniser(str(tokenizer_folder), always_bos=True).encode([exchanges()], "responses")
    assert marked.ids.tolist() == [bos, *plain.ids.tolist()]
    assert plain.spans is not None
    assert marked.spans is not None
    assert marked.spans.tolist() == (plain.spans + 1).tolist()

    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", bos)]
    )
    tokenizer.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)("a")["input_ids"][0] == bos
    for always_bos in (False, True):
        [own] = Tokeniser(str(tmp_path), always_bos=always_bos).encode([exchanges()], None)
        assert own.ids.tolist() == marked.ids.tolist()


def test_without_a_bos_none_can_always_begin_a_text(tokenizer_folder: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    tokenizer.bos_token = None
    tokenizer.save_pretrained(tmp_path)
    [text] = Tokeniser(str(tmp_path)).encode([exchanges()], None)
    assert text.ids[-1] == tokenizer.eos_token_id
    with pytest.raises(InputError, match="has no BOS, which a synthesizer's examples begin with"):
        Tokeniser(str(tmp_path), always_bos=True)
