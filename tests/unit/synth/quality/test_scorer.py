"""A real, tiny sequence classifier as judge."""

from pathlib import Path

import pytest

from pipeline.contracts import Pair
from pipeline.errors import InputError
from synth.quality.checks import PairChecker
from synth.quality.config import ChecksConfig, ScorerConfig
from synth.quality.expectations import Expectations
from synth.quality.scorer import LOW_SCORE, PairScorer

TEXT = "The lighthouse was built by Anna Vell in 1871 and burned whale oil."
PAIRS = [
    Pair("Who built the lighthouse?", "Anna Vell"),
    Pair("When was it built?", "1871"),
    Pair("What did it burn?", "whale oil", "multiple_choice", ("whale oil", "coal")),
    Pair("What was built by Anna Vell in 1871?", "The lighthouse was built by Anna Vell."),
    Pair("Was it built?", "yes", "chain_of_thought", (), "Anna Vell built it in 1871."),
]


def save_classifier(folder: Path, num_labels: int) -> str:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # type: ignore[arg-type]
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()  # type: ignore[assignment]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=special)
    tokenizer.train_from_iterator([TEXT, *(pair.instruction for pair in PAIRS)], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=1.0,
        num_labels=num_labels,
        pad_token_id=0,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_classifier(tmp_path_factory.mktemp("classifier"), num_labels=3)


@pytest.fixture(scope="module")
def regressor(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_classifier(tmp_path_factory.mktemp("regressor"), num_labels=1)


def items() -> list[tuple[str, Pair]]:
    return [(TEXT, pair) for pair in PAIRS]


def test_probabilities_of_all_labels_add_up(classifier: str) -> None:
    by_label = [
        PairScorer(ScorerConfig(model=classifier, label=label, max_length=64)).score(items())
        for label in range(3)
    ]
    for position in range(len(PAIRS)):
        assert sum(scores[position] for scores in by_label) == pytest.approx(1)
    assert len({round(score, 4) for score in by_label[0]}) > 1


@pytest.mark.parametrize("label", [0, 2])
def test_scores_do_not_depend_on_the_batch(classifier: str, label: int) -> None:
    alone, together = (
        PairScorer(ScorerConfig(model=classifier, label=label, batch_size=size)).score(items())
        for size in (1, 5)
    )
    assert alone == pytest.approx(together, abs=1e-5)


def test_scores_are_the_models_own(regressor: str) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(regressor).eval()
    tokenizer = AutoTokenizer.from_pretrained(regressor)
    encoded = tokenizer(PAIRS[0].instruction, PAIRS[0].response, return_tensors="pt")
    with torch.inference_mode():
        expected = float(model(**encoded).logits[0, 0])
    assert PairScorer(ScorerConfig(model=regressor)).score(items())[0] == pytest.approx(
        expected, abs=1e-5
    )


def test_the_text_is_seen_on_request_and_cut_to_length(regressor: str) -> None:
    blind, seeing = (
        PairScorer(ScorerConfig(model=regressor, with_text=with_text, max_length=64))
        for with_text in (False, True)
    )
    assert blind.score(items()) != pytest.approx(seeing.score(items()))
    long = [(TEXT * 100, PAIRS[0])]
    assert len(seeing.score(long)) == 1  # 64 positions: uncut input would fail


def test_low_scores_fall_and_break_links(regressor: str) -> None:
    config = ScorerConfig(model=regressor)
    scores = PairScorer(config).score(items())
    bar = sorted(scores)[1] + 1e-6  # two pairs lie below
    config = config.model_copy(update={"min_score": bar})
    expected = [LOW_SCORE if score < bar else "" for score in scores]
    assert expected.count(LOW_SCORE) == 2
    assert PairScorer(config).verdicts(TEXT, PAIRS) == expected
    checker = PairChecker(ChecksConfig(scorer=config))
    without = PairChecker(ChecksConfig()).check(TEXT, PAIRS)
    assert without.kept == PAIRS
    checked = checker.check(TEXT, PAIRS)
    assert [reason for _, reason in checked.dropped] == [LOW_SCORE] * 2
    linked = checker.check(TEXT, PAIRS, Expectations(is_linked=True))
    assert linked.kept == PAIRS[: expected.index(LOW_SCORE)]


def test_nothing_is_loaded_for_nothing() -> None:
    scorer = PairScorer(ScorerConfig(model="/no/such/folder"))
    assert scorer.verdicts(TEXT, []) == []
    with pytest.raises(InputError, match="no such folder"):
        scorer.verdicts(TEXT, PAIRS)


@pytest.mark.parametrize(
    ("label", "message"), [("regression", "3 labels"), (3, r"label \(3\) must be below")]
)
def test_a_label_that_the_model_lacks_is_an_error(
    classifier: str, label: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        PairScorer(ScorerConfig(model=classifier, label=label)).score(items())
