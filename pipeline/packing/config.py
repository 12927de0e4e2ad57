"""Settings of the packing stage."""

from typing import Literal

from pydantic import Field

from pipeline.config import StrictConfig

LossOn = Literal["responses", "pairs"]
_FRAME_BYTES = 1 << 18


class PackConfig(StrictConfig):
    """How texts become rows."""

    tokenizer: str
    """Model reference whose tokenizer is used: that of the model to train."""
    seq_len: int = Field(default=2048, ge=8)
    """Row length in tokens."""
    heldout_fraction: float = Field(default=0.01, ge=0, lt=1)
    """Share of examples kept from training, for held-out loss; chosen by a stable hash."""
    template_seed: int = 0
    """Seed of the layouts in which pairs are written as text."""
    template_folder: str = ""
    """Folder of pools of phrasings in place of those in `synth/templates/pools/`, file by file."""
    loss_on: dict[str, LossOn] = Field(default_factory=dict)
    """Row sources (names or patterns such as `*-augmented`) trained on part of their tokens:
    `responses`, or `pairs` (instructions too); else task data are on their `pairs`, and all others
    on every token."""
    rows_per_frame: int = Field(default=0, ge=0)
    """Rows of a zstd frame, the unit of reading; 0: as many as fill 256 KiB of tokens."""

    def frame_rows(self, token_bytes: int) -> int:
        """Rows of a frame."""
        return self.rows_per_frame or max(1, _FRAME_BYTES // (self.seq_len * token_bytes))
