"""How much memory a rank of training takes, by arithmetic, for each ZeRO stage.

P: trained parameters, N: ranks, c: bytes of the compute type (bf16: 2, fp32: 4)

              weights    master + moments    gradients            and while gradients are reduced
    stage 0   4P         8P                  4P                   -
    stage 1   cP         12P / N             4P (+ 2P in bf16)    a bucket of 0.5 G elements in fp32
    stage 2   cP         12P / N             4P / N               a bucket of 0.5 G elements
    stage 3   cP / N     12P / N             4P / N               a bucket, and weights gathered

These are the buffers that DeepSpeed 0.19 allocates with `train.deepspeed_config`, whose sum was
held against engines of each stage. Activations are what the backward pass keeps of a decoder layer
with gated feed-forward and attention that never holds its scores (Korthikanti et al. 2022, arXiv
2205.05198, count the same way), held against what autograd saves.
"""

from dataclasses import dataclass

from launch.preflight.shapes import ModelSize, Shape
from train.config import TrainConfig
from train.loss import chunk_size

_MASTER, _MOMENTS, _FP32 = 4, 8, 4
_BUCKET_ELEMENTS = 500_000_000
_GATHERED_ELEMENTS = 1_000_000_000
STAGES = (0, 1, 2, 3)


@dataclass(frozen=True)
class RankMemory:
    """Bytes that one rank of training takes at its peak."""

    weights: int
    optimizer: int
    gradients: int
    buffers: int
    activations: int
    logits: int
    host: int
    """In the host's memory, by offloading."""

    @property
    def device(self) -> int:
        """All that is on the device."""
        states = self.weights + self.optimizer + self.gradients
        return states + self.buffers + self.activations + self.logits


def rank_memory(
    config: TrainConfig, size: ModelSize, num_ranks: int, seq_len: int, device_type: str = "cuda"
) -> RankMemory:
    """What a rank takes.

    Args:
        config: stage, offload, precision, rows of a micro-batch.
        size: of the model.
        num_ranks: over all hosts.
        seq_len: tokens of a row.
        device_type: `cuda` or `cpu`, which decides how many logits are held at once.
    """
    tokens = config.micro_rows * seq_len
    activations = logits = 0
    if size.shape is not None:
        width = compute_bytes(config)
        activations = activation_bytes(
            size.shape, tokens, width, is_recomputed=config.activation_checkpointing
        )
        chunk = min(
            tokens, chunk_size(size.shape.vocab_size, device_type, config.loss.chunk_tokens)
        )
        logits = logits_bytes(size.shape, chunk, tokens, width)
        if size.num_frozen:  # then the head is frozen, too, and has no gradient
            logits -= _FP32 * size.shape.vocab_size * size.shape.hidden
    states = state_bytes(config, size.num_trained, size.num_frozen, num_ranks, device_type)
    return RankMemory(**states, activations=activations, logits=logits)


def compute_bytes(config: TrainConfig) -> int:
    """Bytes of an element that is computed with; stage 0 has fp32 weights under autocast."""
    return 2 if config.precision == "bf16" and config.zero_stage > 0 else 4


def state_bytes(
    config: TrainConfig,
    num_trained: int,
    num_frozen: int,
    num_ranks: int,
    device_type: str = "cuda",
) -> dict[str, int]:
    """Bytes of weights, optimizer, gradients and buffers of a rank, and what the host holds.

    Args:
        config: stage, offload, precision.
        num_trained: parameters with gradients.
        num_frozen: parameters without.
        num_ranks: over all hosts.
        device_type: on a `cpu`, a bucket takes no more than what is written to it.
    """
    stage, width = config.zero_stage, compute_bytes(config)
    total, share = num_trained + num_frozen, -(-num_trained // num_ranks)
    bucket = min(num_trained, _BUCKET_ELEMENTS) if device_type == "cpu" else _BUCKET_ELEMENTS
    if stage == 0:
        autocast = 2 * total if config.precision == "bf16" else 0
        return {
            "weights": _FP32 * total,
            "optimizer": _MOMENTS * num_trained,
            "gradients": _FP32 * num_trained,
            "buffers": autocast,
            "host": 0,
        }
    weights = width * total
    optimizer = (_MASTER + _MOMENTS) * share
    gradients, buffers = _FP32 * share, width * bucket
    is_offloaded = config.offload != "none"
    if stage == 1:
        gradients, buffers = _FP32 * num_trained, _FP32 * bucket
        if config.precision == "bf16" and not is_offloaded:
            gradients, buffers = (_FP32 + width) * num_trained, 0
    host = 0
    if is_offloaded:
        host, optimizer = optimizer + 2 * _FP32 * share, 0  # gradients, and what adds them up
        gradients = {1: gradients, 2: width * share, 3: 0}[stage]
    if stage == 3:
        buffers += width * min(total, _GATHERED_ELEMENTS)
        weights = width * -(-total // num_ranks)
        if config.offload == "all":
            host, weights = host + weights, 0
    return {
        "weights": weights,
        "optimizer": optimizer,
        "gradients": gradients,
        "buffers": buffers,
        "host": host,
    }


def activation_bytes(shape: Shape, tokens: int, width: int, *, is_recomputed: bool) -> int:
    """Bytes that the forward pass keeps for the backward pass, without the logits.

    Args:
        shape: of the model.
        tokens: of a micro-batch.
        width: bytes of an element that is computed with.
        is_recomputed: whether layers keep their input alone (activation checkpointing).
    """
    layer = (
        (8 + 4 * width) * shape.hidden  # two norms, which compute in fp32, and the projections
        + 4 * width * shape.intermediate  # gate, its activation, up, their product
        + 3 * width * shape.query_width  # queries, attention's output, that in rows
        + 2 * width * shape.key_width  # keys, values
        + 4 * shape.heads  # logarithms of the sums of exponentials
        + 8  # a reciprocal root of each norm
    )
    ends = (4 + width) * shape.hidden + 2 * width * shape.head_dim + 12
    if is_recomputed:
        return tokens * (width * shape.hidden * shape.num_layers + layer + ends)
    return tokens * (layer * shape.num_layers + ends)


def logits_bytes(shape: Shape, chunk: int, tokens: int, width: int) -> int:
    """Bytes of the loss: a chunk of logits, the head's gradient in fp32, that of hidden states.

    Args:
        shape: of the model.
        chunk: tokens whose logits are held at once.
        tokens: of a micro-batch.
        width: bytes of an element that is computed with.
    """
    of_chunk = chunk * shape.vocab_size * (_FP32 + 2 * width)
    return of_chunk + _FP32 * shape.vocab_size * shape.hidden + width * tokens * shape.hidden


def host_bytes(of_host: int, size: ModelSize, num_ranks: int, memory: RankMemory) -> int:
    """Bytes that the ranks of one host take of its memory at their peak.

    That is when each builds the whole model in fp32, or later, with the copy that checkpoints are
    written from and what is offloaded.

    Args:
        of_host: ranks of the host.
        size: of the model.
        num_ranks: over all hosts.
        memory: of a rank.
    """
    building = _FP32 * size.num_parameters
    copy = (_FP32 + _MOMENTS) * -(-size.num_trained // num_ranks)
    return of_host * max(building, copy + memory.host)


def cache_bytes_per_token(shape: Shape, width: int) -> int:
    """Bytes of keys and values that an engine keeps of a token."""
    return 2 * shape.num_layers * shape.key_width * width
