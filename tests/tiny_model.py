"""A language model small enough that a real engine starts with it in seconds."""

from pathlib import Path

from tests.tokenizers import save_tokenizer


def save_tiny_model(folder: Path) -> Path:
    """Save a Llama of two layers with random weights, and the tests' tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    save_tokenizer(folder)
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=512,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    LlamaForCausalLM(shape).save_pretrained(folder)
    return folder
