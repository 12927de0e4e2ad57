"""FLOPs by formula against a count of what torch multiplies."""

from typing import Any

import numpy as np
import pytest

from train.flops import (
    ModelFlops,
    count_parameters,
    document_pairs,
    model_flops,
    row_pairs,
    saved_share,
    utilisation,
)

LLAMA = {
    "model_type": "llama",
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
# q and o are 32 x 32, k and v 16 x 32 (two of four heads), the three of the MLP 48 x 32.
LLAMA_LAYER = 2 * 32 * 32 + 2 * 16 * 32 + 3 * 48 * 32
SHAPES = {
    "untied": LLAMA,
    "tied": LLAMA | {"tie_word_embeddings": True},
    "wide_heads": LLAMA | {"head_dim": 16},
    "experts": LLAMA | {"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2},
    "biases": {
        "model_type": "gpt2",
        "vocab_size": 96,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "bos_token_id": 0,
        "eos_token_id": 1,
    },
}


def parameters_of(model: Any) -> list[tuple[str, int]]:
    return [(name, weight.numel()) for name, weight in model.named_parameters()]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_the_formula_agrees_with_a_count_of_what_is_multiplied(shape: dict[str, Any]) -> None:
    """Eager attention computes the full square of scores and masks half of it away.

    Its count is therefore that of seq_len keys for each query; the formula, which counts the keys
    that a query sees, gives (seq_len + 1) / 2 / seq_len of it.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(**shape)
    model = AutoModelForCausalLM.from_config(
        config, attn_implementation="eager", experts_implementation="eager"
    )
    num_rows, seq_len = 2, 24
    ids = torch.arange(seq_len).repeat(num_rows, 1)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    counted = {str(name): flops for name, flops in counter.get_flop_counts()["Global"].items()}
    by_attention = counted.pop("aten.bmm")
    assert set(counted) <= {"aten.mm", "aten.addmm"}
    flops = model_flops(config, parameters_of(model), seq_len)
    assert flops is not None
    assert flops.per_token * num_rows * seq_len == sum(counted.values())
    assert flops.per_pair * num_rows * seq_len**2 == by_attention
    causal = flops.per_pair * row_pairs(num_rows, seq_len)
    assert causal / by_attention == pytest.approx((seq_len + 1) / 2 / seq_len)


def test_a_small_llama_by_hand() -> None:
    parameters = [
        ("model.embed_tokens.weight", 96 * 32),
        ("model.layers.0.self_attn.q_proj.weight", LLAMA_LAYER),
        ("model.layers.1.self_attn.q_proj.weight", LLAMA_LAYER),
        ("model.layers.0.input_layernorm.weight", 32),
    ]
    tied = model_flops(LLAMA, parameters, 24)
    untied = model_flops(LLAMA, [*parameters, ("lm_head.weight", 96 * 32)], 24)
    assert tied == untied == ModelFlops(6 * (2 * 7680 + 3072), 12 * 2 * 4 * 8)


def test_frozen_weights_have_no_gradients_to_compute() -> None:
    layer = "model.layers.0.self_attn.q_proj"
    parameters = [
        ("model.embed_tokens.weight", 96 * 32),
        (f"{layer}.base_layer.weight", 32 * 32),
        (f"{layer}.lora_A.default.weight", 4 * 32),
        (f"{layer}.lora_B.default.weight", 32 * 4),
    ]
    found = model_flops(LLAMA, parameters, 24, num_trained=2 * 4 * 32)
    assert found is not None
    assert found.per_token == 4 * (96 * 32 + 32 * 32) + 6 * (2 * 4 * 32)


def test_parameters_by_kind() -> None:
    names = {
        "transformer.wte.weight": "embedding",
        "model.embed_tokens.weight": "embedding",
        "gpt_neox.embed_in.weight": "embedding",
        "embed_out.weight": "head",
        "_orig_mod.lm_head.weight": "head",
        "model.layers.3.mlp.experts.gate_up_proj": "experts",
        "model.layers.3.block_sparse_moe.experts.7.w1.weight": "experts",
        "model.layers.3.mlp.experts.gate_up_proj_bias": "vectors",
        "model.layers.3.mlp.shared_experts.up_proj.weight": "other",
        "model.layers.3.mlp.gate.weight": "other",
        "model.layers.3.self_attn.q_norm.weight": "vectors",
        "transformer.h.0.ln_1.weight": "vectors",
        "transformer.h.0.attn.c_attn.bias": "vectors",
    }
    for name, kind in names.items():
        assert count_parameters([(name, 5)]) == {kind: 5}, name


@pytest.mark.parametrize(
    "change",
    [
        {"sliding_window": 16},
        {"layer_types": ["full_attention", "linear_attention"]},
        {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 16},
        {"kv_lora_rank": 8},
        {"num_attention_heads": None},
    ],
)
def test_what_the_formula_does_not_hold_for_is_not_counted(change: dict[str, Any]) -> None:
    parameters = [("model.layers.0.mlp.up_proj.weight", 9)]
    assert model_flops(LLAMA | change, parameters, 24) is None


def test_a_window_that_no_query_fills_changes_nothing() -> None:
    parameters = [("model.layers.0.mlp.up_proj.weight", 9)]
    plain = model_flops(LLAMA, parameters, 24)
    assert plain is not None
    for change in (
        {"sliding_window": 24},
        {"sliding_window": 16, "use_sliding_window": False},
        {"sliding_window": 16, "layer_types": ["full_attention"] * 2},
    ):
        assert model_flops(LLAMA | change, parameters, 24) == plain


def test_experts_of_unknown_number_are_not_counted() -> None:
    parameters = [("model.layers.0.mlp.experts.down_proj", 9)]
    assert model_flops(LLAMA, parameters, 24) is None
    known = model_flops(LLAMA | {"num_experts": 6, "num_experts_per_tok": 2}, parameters, 24)
    assert known is not None
    assert known.per_token == 6 * (3 + 96 * 32)


def test_pairs_are_what_the_mask_lets_through() -> None:
    import torch

    from train.attention import Documents

    device = torch.device("cpu")
    lengths = [[4, 2, 6], [12], [1, 1, 10]]
    positions = np.array([[n for length in row for n in range(length)] for row in lengths])
    assert document_pairs(positions.astype(np.int32)) == 10 + 3 + 21 + 78 + 1 + 1 + 55
    assert document_pairs(positions) == Documents.of_positions(positions, device).mask().sum()
    assert row_pairs(3, 12) == Documents.of_whole_rows(3, 12, device).mask().sum()
    assert saved_share(document_pairs(positions), row_pairs(3, 12)) == pytest.approx(
        (234 - 169) / 234
    )


def test_many_pairs_do_not_overflow() -> None:
    positions = np.broadcast_to(np.arange(131072, dtype=np.int32), (4, 131072))
    assert document_pairs(positions) == row_pairs(4, 131072) == 4 * 131072 * 131073 // 2


def test_utilisation_is_the_share_of_all_devices_together() -> None:
    flops = ModelFlops(6e9, 1e3).of(num_tokens=1000, num_pairs=1e9)
    assert flops == 7e12
    assert utilisation(flops, seconds=2.0, num_devices=2, peak=3.5e12) == 0.5
