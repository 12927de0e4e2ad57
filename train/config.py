"""Settings of the training stage, and the DeepSpeed dict made from them."""

import math
from typing import Any, Literal

from pydantic import Field, model_validator

from pipeline.config import StrictConfig
from pipeline.loader.share import rows_per_rank


class ModelConfig(StrictConfig):
    """The model to train: from weights, or from scratch by its shape."""

    init_from: str = ""
    """Model reference whose weights are trained further; empty: from scratch."""
    shape: dict[str, Any] = Field(default_factory=dict)
    """From scratch: `model_type` and the fields of that Hugging Face config. The vocabulary size
    and special tokens come from the tokenizer of the packed rows."""
    attention: Literal["sdpa", "eager"] = "sdpa"
    """Attention implementation."""
    trust_remote_code: bool = False
    """Run code that ships with the model."""

    @model_validator(mode="after")
    def _one_origin(self) -> "ModelConfig":
        if bool(self.init_from) == bool(self.shape):
            raise ValueError("give either init_from (weights) or shape (from scratch)")
        if self.shape and "model_type" not in self.shape:
            raise ValueError("shape needs model_type, for example model_type = 'llama'")
        return self


class OptimizerConfig(StrictConfig):
    """AdamW and its learning-rate schedule."""

    peak_lr: float = Field(default=3e-4, gt=0)
    """Learning rate after warm-up."""
    final_lr_ratio: float = Field(default=0.1, ge=0, le=1)
    """Last learning rate over the peak."""
    warmup_steps: int = Field(default=100, ge=0)
    """Steps of linear warm-up; cosine decay follows."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the first moment."""
    beta2: float = Field(default=0.95, ge=0, lt=1)
    """Decay of the second moment."""
    weight_decay: float = Field(default=0.1, ge=0)
    """On matrices; norms and biases have none."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""


class TrainConfig(StrictConfig):
    """One training run."""

    model: ModelConfig
    """What is trained."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """How."""
    num_steps: int = Field(ge=1)
    """Optimizer steps."""
    rows_per_batch: int = Field(ge=1)
    """Rows of a global batch; times seq_len: its tokens."""
    micro_rows: int = Field(default=1, ge=1)
    """Rows a rank takes through the model at once; the rest is accumulated."""
    num_ranks: int = Field(default=1, ge=1)
    """Processes on this machine that `ipt train` starts, one an accelerator."""
    zero_stage: Literal[0, 1, 2, 3] = 2
    """ZeRO stage: what is sharded over ranks (optimizer, gradients, weights)."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """Compute type; master weights are fp32 either way."""
    document_mask: bool = True
    """Attend within documents only, positions restart; off: over the whole row."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass to save memory."""
    checkpoint_every: int = Field(default=500, ge=1)
    """Steps between checkpoints; the last step always makes one."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """Complete checkpoints kept."""
    log_every: int = Field(default=10, ge=1)
    """Steps between console lines; `metrics.jsonl` gets every step."""

    def content_fields(self) -> dict[str, Any]:
        """The settings that decide the weights, as opposed to speed and reporting."""
        runtime = {
            "num_ranks",
            "micro_rows",
            "activation_checkpointing",
            "checkpoint_every",
            "keep_checkpoints",
            "log_every",
        }
        return self.model_dump(exclude=runtime)

    def accumulation_steps(self, num_ranks: int) -> int:
        """Micro-batches of a step on each rank.

        A batch that does not divide is filled up with rows of padding, from which nothing is
        learned: the loss is the same, some of the work is in vain.
        """
        return rows_per_rank(self.rows_per_batch, num_ranks, self.micro_rows) // self.micro_rows


def learning_rate(config: OptimizerConfig, step: int, num_steps: int) -> float:
    """Learning rate of a step (from 0): linear warm-up, then cosine decay to the final ratio."""
    if step < config.warmup_steps:
        return config.peak_lr * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, num_steps - config.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.peak_lr * (config.final_lr_ratio + (1 - config.final_lr_ratio) * cosine)


def deepspeed_config(config: TrainConfig, num_ranks: int) -> dict[str, Any]:
    """The dict that `deepspeed.initialize` takes; never written by hand."""
    accumulation = config.accumulation_steps(num_ranks)
    return {
        "train_batch_size": config.micro_rows * accumulation * num_ranks,
        "train_micro_batch_size_per_gpu": config.micro_rows,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": config.optimizer.clip_norm,
        "bf16": {"enabled": config.precision == "bf16"},
        "data_types": {"grad_accum_dtype": "fp32"},
        "communication_data_type": "fp32",
        "zero_optimization": {
            "stage": config.zero_stage,
            "overlap_comm": False,
            "contiguous_gradients": True,
        },
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 2**31 - 1,
    }


class ExportConfig(StrictConfig):
    """The Hugging Face folder."""

    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    """Type of the weights on disk."""
    license: str = ""
    """Licence named in the model card; empty: none is named."""


class EvalConfig(StrictConfig):
    """Evaluation of the exported model."""

    max_rows: int = Field(default=256, ge=1)
    """Held-out rows evaluated of each source."""
    prompt: str = "The"
    """Beginning of the sample completion."""
    sample_tokens: int = Field(default=40, ge=1)
    """Tokens of the sample completion."""
