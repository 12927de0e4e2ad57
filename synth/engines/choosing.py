"""The engine that a config names, under supervision."""

from typing import TYPE_CHECKING

from pipeline.process import ProcessFamily
from synth.config import SynthConfig
from synth.engines.protocol import Engine
from synth.engines.supervision import SupervisedEngine

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def make_engine(
    config: SynthConfig, tokenizer: "PreTrainedTokenizerBase", family: ProcessFamily
) -> SupervisedEngine:
    """Start the engine that a config names."""
    return SupervisedEngine(lambda: _start(config, tokenizer), config.engine, family)


def _start(config: SynthConfig, tokenizer: "PreTrainedTokenizerBase") -> Engine:
    if config.engine.kind == "fake":
        from synth.engines.fake_engine import FakeEngine

        return FakeEngine(config, tokenizer)
    if config.engine.kind == "openai":
        from synth.engines.openai_engine import OpenAIEngine

        return OpenAIEngine(config, tokenizer)
    from synth.engines.vllm_engine import VllmEngine

    return VllmEngine(config, tokenizer)
