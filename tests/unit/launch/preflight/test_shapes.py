"""Numbers of parameters: by torch's meta device, by formula, by a model's name."""

import tomllib
from pathlib import Path

import pytest

from launch.preflight.shapes import Shape, size_by_name, size_of_trained
from tests.preflighted import subject_of

SHAPES = sorted((Path(__file__).parents[4] / "train" / "shapes").glob("*.toml"))
WORDS = 1000


def by_formula(fields: dict) -> int:
    """Parameters of a decoder of the kinds that ship, as their papers write them down."""
    hidden, inner = fields["hidden_size"], fields["intermediate_size"]
    heads, groups = fields["num_attention_heads"], fields["num_key_value_heads"]
    head_dim = fields.get("head_dim", hidden // heads)
    attention = 2 * hidden * heads * head_dim + 2 * hidden * groups * head_dim
    experts = fields.get("num_local_experts", 1)
    forward = 3 * hidden * inner * experts + (hidden * experts if experts > 1 else 0)
    norms = 2 * hidden + (2 * head_dim if fields["model_type"] == "qwen3" else 0)
    ends = WORDS * hidden * (1 if fields.get("tie_word_embeddings") else 2) + hidden
    return fields["num_hidden_layers"] * (attention + forward + norms) + ends


@pytest.mark.parametrize("path", SHAPES, ids=lambda path: path.stem)
def test_every_shape_that_ships_has_the_parameters_of_its_formula(path: Path) -> None:
    subject = subject_of(
        "scratch-500m", f"train.model.preset={path.stem}", f"train.model.shape.vocab_size={WORDS}"
    )
    size = size_of_trained(subject.config, hub="away")
    fields = tomllib.loads(path.read_text())
    assert size is not None
    assert size.num_parameters == size.num_trained == by_formula(fields)
    assert size.remark == ""
    assert size.shape is not None
    assert size.shape.num_layers == fields["num_hidden_layers"]
    active = fields.get("num_experts_per_tok", 1)
    assert size.shape.intermediate == active * fields["intermediate_size"]


def test_without_a_tokenizer_the_default_vocabulary_is_said() -> None:
    size = size_of_trained(subject_of("scratch-500m").config, hub="away")
    assert size is not None
    assert size.remark == "with 32,000 words, the default of mistral, as the tokenizer is not here"


def test_weights_that_are_not_here_go_by_their_name() -> None:
    size = size_of_trained(subject_of("continual-8b").config, hub="away")
    assert size is not None
    assert (size.num_trained, size.shape) == (8_000_000_000, None)
    assert "by its name, meta-llama/Meta-Llama-3-8B" in size.remark


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("meta-llama/Meta-Llama-3-8B", 8_000_000_000),
        ("mistralai/Mistral-7B-v0.1", 7_000_000_000),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 135_000_000),
        ("Qwen/Qwen3-0.6B", 600_000_000),
        ("org/model_1.5b_base", 1_500_000_000),
        ("org/8B/plain", None),
        ("gpt2", None),
    ],
)
def test_sizes_in_names(name: str, number: int | None) -> None:
    assert size_by_name(name) == number


def test_adapters_are_counted_beside_the_weights_that_stay() -> None:
    subject = subject_of("smollm2-135m")
    size = size_of_trained(subject.config, hub="away")
    assert size is not None
    lora = subject.config.train.lora
    assert lora is not None
    hidden, key, inner = 576, 192, 1536
    sides = 2 * (hidden + hidden) + 2 * (hidden + key) + 3 * (hidden + inner)
    assert size.num_trained == 30 * lora.rank * sides
    assert size.num_frozen == 134_515_008


def test_a_shape_takes_what_a_config_leaves_out_from_the_rest() -> None:
    class Config:
        num_attention_heads, hidden_size, num_hidden_layers, vocab_size = 8, 64, 2, 100

    shape = Shape.of(Config())
    assert (shape.head_dim, shape.key_width, shape.intermediate) == (8, 64, 256)
