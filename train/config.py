"""Settings of training, export and evaluation."""

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config import StrictConfig
from pipeline.loader.share import rows_per_rank

_SHAPES = Path(__file__).parent / "shapes"
Attention = Literal["auto", "varlen", "flex", "sdpa", "eager"]


class ModelConfig(StrictConfig):
    """The model to train: from weights, or from scratch by its shape."""

    init_from: str = ""
    """Model reference whose weights are trained further; empty: from scratch."""
    preset: str = ""
    """From scratch: name of a shape in `train/shapes/`, such as `mistral-500m` or `moe-small`."""
    shape: dict[str, Any] = Field(default_factory=dict)
    """From scratch: `model_type` and the fields of that Hugging Face config, or what differs from
    the preset. Vocabulary size and special tokens come from the tokenizer of the packed rows."""
    attention: Attention = "auto"
    """Attention backend: `varlen` (each document by itself: FlashAttention on a GPU in bf16, SDPA
    else), `flex` (FlexAttention with a block mask; GPUs only), `sdpa` or `eager` with a dense mask;
    `auto`: `flex` on a GPU in fp32, where FlashAttention has no kernel, else `varlen`."""
    trust_remote_code: bool = False
    """Run code that ships with the model."""

    @model_validator(mode="after")
    def _one_origin(self) -> "ModelConfig":
        if bool(self.init_from) == bool(self.shape or self.preset):
            raise ValueError("give either init_from (weights) or preset or shape (from scratch)")
        if not self.init_from and "model_type" not in self.full_shape():
            raise ValueError("shape needs model_type, for example model_type = 'llama'")
        return self

    def full_shape(self) -> dict[str, Any]:
        """The fields of the Hugging Face config: the preset's, and those given in their place."""
        if not self.preset:
            return dict(self.shape)
        names = sorted(path.stem for path in _SHAPES.glob("*.toml"))
        if self.preset not in names:
            raise ValueError(f"preset {self.preset!r} is not one of {', '.join(names)}")
        return tomllib.loads((_SHAPES / f"{self.preset}.toml").read_text("utf-8")) | self.shape


class LoraConfig(StrictConfig):
    """Low-rank adapters (LoRA, Hu et al. 2021) that are trained in place of the weights."""

    rank: int = Field(default=16, ge=1)
    """Inner size of the two matrices that are trained beside each weight."""
    alpha: float = Field(default=32.0, gt=0)
    """Their product counts `alpha / rank` times."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of their inputs that is dropped in training."""
    targets: tuple[str, ...] = ()
    """Names of the linear layers that get them, such as `q_proj`; empty: all but the head. Experts
    that lie in one tensor are no linear layers."""


class OptimizerConfig(StrictConfig):
    """AdamW and its learning-rate schedule."""

    peak_lr: float = Field(default=3e-4, gt=0)
    """Learning rate after warm-up."""
    final_lr_ratio: float = Field(default=0.1, ge=0, le=1)
    """Last learning rate over the peak."""
    schedule: Literal["cosine", "linear", "wsd"] = "cosine"
    """Decay after warm-up: over the whole run by a cosine or a line, or `wsd` (warm-up, stable,
    decay): constant, then a line over the last `decay_fraction`."""
    decay_fraction: float = Field(default=0.2, gt=0, le=1)
    """Share of the run that `wsd` decays over."""
    warmup_steps: int = Field(default=100, ge=0)
    """Steps of linear warm-up."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the first moment."""
    beta2: float = Field(default=0.95, ge=0, lt=1)
    """Decay of the second moment."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root of the second moment."""
    weight_decay: float = Field(default=0.1, ge=0)
    """On matrices; norms and biases have none."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""


class LossConfig(StrictConfig):
    """The loss and how it is computed."""

    chunk_tokens: int = Field(default=0, ge=0)
    """Tokens whose logits are held at once; 0: as many as fill 24 MiB on a CPU, 512 on a GPU."""
    z_loss: float = Field(default=0.0, ge=0)
    """Weight of the squared log-partition of each token (PaLM: 1e-4), which keeps logits small."""
    uncertainty_weighting: bool = False
    """Learn a weight for each source's loss (Kendall et al., 2018): exp(-s) * loss + s / 2."""
    uncertainty_lr: float = Field(default=1e-2, gt=0)
    """Learning rate of these weights."""


class AnomalyConfig(StrictConfig):
    """What happens at a loss that is not finite, or leaps."""

    policy: Literal["skip", "rollback", "stop"] = "skip"
    """`skip`: this step changes no weight; `rollback`: back to the last checkpoint, and the batches
    since then are passed over; `stop`: save nothing and end with an error."""
    spike_ratio: float = Field(default=0.0, ge=0)
    """A loss this many times the median of the last `window` good ones is a spike, and so is all
    that follows a lasting rise, such as a phase of harder texts; 0: only one that is not finite."""
    window: int = Field(default=64, ge=4)
    """Steps whose losses say what is usual; before that many, no loss is a spike."""
    max_in_a_row: int = Field(default=10, ge=1)
    """The run ends with an error after this many anomalies one after the other."""


class HeldoutConfig(StrictConfig):
    """Held-out loss while training."""

    every: int = Field(default=0, ge=0)
    """Steps between evaluations; 0: none."""
    max_rows: int = Field(default=64, ge=1)
    """Held-out rows of each source."""
    sample_tokens: int = Field(default=0, ge=0)
    """Tokens of a completion that is logged with it; 0: none. Not with ZeRO stage 3."""
    prompt: str = "The"
    """Beginning of that completion."""


class LoggingConfig(StrictConfig):
    """Where metrics go, beside the console and `metrics.jsonl`."""

    tensorboard: bool = False
    """Write TensorBoard events to `train/tensorboard/` (needs the package tensorboard)."""
    wandb_project: str = ""
    """Project at Weights & Biases (needs the package wandb, and its key in the environment)."""
    prometheus_port: int = Field(default=0, ge=0, le=65535)
    """Port on which rank 0 serves the figures of the last step at `/metrics`; 0: none."""
    prometheus_host: str = "127.0.0.1"
    """Address to serve them on; `0.0.0.0` for a Prometheus that is not on this machine."""
    profile_steps: tuple[int, int] | None = None
    """First and last step of a profiler trace, written to `train/profile/`."""


class TrainConfig(StrictConfig):
    """One training run."""

    model: ModelConfig
    """What is trained."""
    lora: LoraConfig | None = None
    """Train low-rank adapters and leave the weights of `model.init_from` as they are; unset: train
    all weights."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """How."""
    loss: LossConfig = LossConfig()
    """What is minimised."""
    anomaly: AnomalyConfig = AnomalyConfig()
    """What happens at a loss that is not finite, or leaps."""
    heldout: HeldoutConfig = HeldoutConfig()
    """Held-out loss while training."""
    logging: LoggingConfig = LoggingConfig()
    """Where metrics go."""
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
    offload: Literal["none", "optimizer", "all"] = "none"
    """Keep in the host's memory: the optimizer's state; with stage 3 also the weights (`all`)."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """Compute type; master weights are fp32 either way."""
    document_mask: bool = True
    """Attend within documents only, positions restart; off: over the whole row."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass to save memory."""
    compile: bool = False
    """Compile the model with torch.compile: minutes at the start, faster steps on a GPU."""
    checkpoint_every: int = Field(default=500, ge=1)
    """Steps between checkpoints; the last step always makes one."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """Newest complete checkpoints kept."""
    keep_every: int = Field(default=0, ge=0)
    """Checkpoints at multiples of this many steps are kept for good; 0: none."""
    async_checkpoints: bool = True
    """Write checkpoints while training goes on, from a copy in memory."""
    log_every: int = Field(default=10, ge=1)
    """Steps between console lines; `metrics.jsonl` gets every step."""
    watchdog_s: float = Field(default=1800.0, gt=0)
    """A step that takes longer ends the run with the rank and place that hang."""

    @model_validator(mode="after")
    def _goes_together(self) -> "TrainConfig":
        if self.lora is not None and not self.model.init_from:
            raise ValueError(
                "lora trains beside weights that are there, and a model from scratch has none: set "
                "model.init_from, or leave out lora"
            )
        if self.offload == "all" and self.zero_stage != 3:
            raise ValueError(f"offload = 'all' needs zero_stage = 3, not {self.zero_stage}")
        if self.offload == "optimizer" and self.zero_stage == 0:
            raise ValueError("offload = 'optimizer' needs zero_stage = 1, 2 or 3, not 0")
        if self.heldout.sample_tokens and self.zero_stage == 3:
            raise ValueError(
                "heldout.sample_tokens needs whole weights on a rank: zero_stage 0, 1 or 2, not 3"
            )
        if self.anomaly.policy == "rollback" and self.num_steps <= self.checkpoint_every:
            raise ValueError(
                f"anomaly.policy = 'rollback' needs checkpoints to go back to: checkpoint_every "
                f"({self.checkpoint_every}) must be below num_steps ({self.num_steps})"
            )
        return self

    def content_fields(self) -> dict[str, Any]:
        """The settings that decide the weights, as opposed to placement, speed and reporting."""
        runtime = {
            "num_ranks",
            "micro_rows",
            "zero_stage",
            "offload",
            "activation_checkpointing",
            "compile",
            "checkpoint_every",
            "keep_checkpoints",
            "keep_every",
            "async_checkpoints",
            "log_every",
            "watchdog_s",
            "heldout",
            "logging",
        }
        content = self.model_dump(exclude=runtime)
        del content["model"]["attention"]
        del content["loss"]["chunk_tokens"]
        if self.lora is None:
            del content["lora"]
        return content

    def accumulation_steps(self, num_ranks: int) -> int:
        """Micro-batches of a step on each rank.

        A batch that does not divide is filled up with rows of padding, from which nothing is
        learned: the loss is the same, some of the work is in vain.
        """
        return rows_per_rank(self.rows_per_batch, num_ranks, self.micro_rows) // self.micro_rows


class ExportConfig(StrictConfig):
    """The Hugging Face folder."""

    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    """Type of the weights on disk."""
    license: str = ""
    """Licence named in the model card; empty: none is named."""
    max_shard_gib: float = Field(default=5.0, gt=0)
    """Size of a file of weights."""


class EvalConfig(StrictConfig):
    """Evaluation of the exported model."""

    max_rows: int = Field(default=256, ge=1)
    """Held-out rows evaluated of each source."""
    prompt: str = "The"
    """Beginning of the sample completion."""
    sample_tokens: int = Field(default=40, ge=1)
    """Tokens of the sample completion."""
    tasks: tuple[str, ...] = ()
    """Tasks of lm-evaluation-harness by name, suites of them (`general`, `biomedicine`, `finance`)
    or local tasks (`everyday`, which ships, and those of `task_folder`); needs the extra `eval`."""
    task_folder: str = ""
    """Folder with task files of lm-evaluation-harness (YAML) over JSONL files beside them."""
    num_fewshot: int | None = Field(default=None, ge=0)
    """Solved examples before each question, but for tasks that want none; unset: as each says."""
    limit: int = Field(default=0, ge=0)
    """Examples of each task, for a quick look; 0: all."""
    batch_size: int | Literal["auto"] = 8
    """Sequences the model scores at once; `auto`: as many as fit, which is tried out."""

    @field_validator("batch_size")
    @classmethod
    def _positive(cls, size: int | str) -> int | str:
        if isinstance(size, int) and size < 1:
            raise ValueError("must be at least 1, or 'auto'")
        return size

    def content_fields(self) -> dict[str, Any]:
        """The settings that decide the report, as opposed to speed and places."""
        content = self.model_dump(exclude={"task_folder", "batch_size"})
        if not self.tasks:
            for name in ("tasks", "num_fewshot", "limit"):
                del content[name]
        return content
