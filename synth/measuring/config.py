"""Settings of the measuring of synthesizers."""

from typing import Any

from pydantic import Field, field_validator, model_validator

from pipeline.config import StrictConfig
from synth.config import EngineConfig, SynthConfig


class TuneEvalConfig(StrictConfig):
    """What synthesizers are asked, all alike, and on what they run."""

    max_examples: int = Field(default=200, ge=1)
    """Most held-out texts, an even share of each data set."""
    shots: tuple[int, ...] = Field(default=(0, 2), min_length=1)
    """Earlier examples in the prompt; one measurement for each of these numbers."""
    max_new_tokens: int = Field(default=400, ge=8)
    """Tokens a synthesizer may write about one text."""
    max_model_len: int = Field(default=4096, ge=64)
    """Context window: prompt and new tokens."""
    temperature: float = Field(default=0.0, ge=0)
    """0: greedy."""
    engine: EngineConfig = EngineConfig()
    """How the synthesizers run, one after the other."""

    @field_validator("shots")
    @classmethod
    def _distinct_counts(cls, shots: tuple[int, ...]) -> tuple[int, ...]:
        if min(shots) < 0 or len(set(shots)) < len(shots):
            raise ValueError(f"shots {list(shots)} must be different numbers from 0 on; try [0, 2]")
        return shots

    @model_validator(mode="after")
    def _room_for_a_prompt(self) -> "TuneEvalConfig":
        if self.max_new_tokens * 2 > self.max_model_len:
            raise ValueError(
                f"max_new_tokens ({self.max_new_tokens}) must be at most half of "
                f"max_model_len ({self.max_model_len}), or no room is left for the text"
            )
        return self

    @model_validator(mode="after")
    def _engine_of_this_process(self) -> "TuneEvalConfig":
        if self.engine.kind == "openai":
            raise ValueError(
                "engine.kind 'openai' hides which weights a server has, so that kept replies might "
                "be another model's; use 'vllm'"
            )
        return self

    def synth_config(self, model: str) -> SynthConfig:
        """The settings of synthesis with one of the models."""
        return SynthConfig(
            model=model,
            protocol="tuned",
            max_new_tokens=self.max_new_tokens,
            max_model_len=self.max_model_len,
            temperature=self.temperature,
            engine=self.engine,
        )

    def content_fields(self) -> dict[str, Any]:
        """The settings that decide a reply, beside model, text and shots."""
        return {
            **self.model_dump(include={"max_new_tokens", "max_model_len", "temperature"}),
            "engine": self.engine.kind,
            "dtype": self.engine.dtype,
        }
