"""Where a model or tokenizer comes from: a folder, a hub name, a GGUF file, a packaged file.

package://NAME/model.gguf    ->  <site-packages>/NAME/model.gguf  ->  cache/<key>/ (HF folder)
/models/my-model.gguf        ->                                       cache/<key>/ (HF folder)
/models/my-model/, org/name  ->  unchanged, `from_pretrained` takes it as it is
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PACKAGE_SCHEME = "package://"
_CONVERSION_VERSION = 1
_SAMPLE_BYTES, _SAMPLE_EVERY_BYTES = 2**20, 2**26
_PLAIN_CLASSES = ("TokenizersBackend", "PreTrainedTokenizerFast")


def cache_dir() -> Path:
    """The folder for converted models: `$IPT_CACHE`, else `ipt` in the user's cache folder."""
    if configured := os.environ.get("IPT_CACHE"):
        return Path(configured)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ipt"


def resolve_package_path(reference: str) -> str:
    """Turn `package://NAME/PATH` into a path inside an installed package, without importing it.

    Any other reference comes back unchanged. PATH may hold glob characters.

    Raises:
        InputError: the package is not installed.
    """
    if not reference.startswith(PACKAGE_SCHEME):
        return reference
    package, _, inside = reference.removeprefix(PACKAGE_SCHEME).partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"{reference}: the package {package!r} is not installed in this environment; "
            f"install it (`make setup` does so for the quickstart's packages) or name another path"
        )
    return str(Path(spec.submodule_search_locations[0]) / inside)


def resolve_model(reference: str) -> str:
    """Turn a model reference into what `from_pretrained` and vLLM accept.

    A GGUF file is converted once to a bfloat16 Hugging Face folder in `cache_dir()`.

    Args:
        reference: a folder, a hub name, a `.gguf` file, or `package://NAME/FILE.gguf`.

    Raises:
        InputError: the reference looks like a path and nothing is there.
    """
    path = resolve_package_path(reference)
    if path.endswith(".gguf"):
        return str(_convert_gguf(Path(path)))
    looks_like_path = path.startswith((".", "/", "~")) or reference != path
    if looks_like_path and not Path(path).expanduser().is_dir():
        raise InputError(
            f"model {reference!r}: no such folder; give a Hugging Face model folder, "
            f"a .gguf file or a hub name such as org/name"
        )
    return str(Path(path).expanduser()) if looks_like_path else path


def load_tokenizer(
    reference: str, *, revision: str = "", trust_remote_code: bool = False
) -> "PreTrainedTokenizerBase":
    """Load the tokenizer of a model reference (see `resolve_model`).

    Args:
        reference: folder, hub name, `.gguf` file or `package://NAME/FILE.gguf`.
        revision: branch, tag or commit of a hub model.
        trust_remote_code: run code that ships with the tokenizer.

    Raises:
        InputError: no tokenizer can be loaded from there.
    """
    model = resolve_model(reference)
    try:
        tokenizer: PreTrainedTokenizerBase = _tokenizer_class(Path(model)).from_pretrained(
            model, revision=revision or None, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise InputError(f"tokenizer {reference!r} cannot be loaded: {first_line}") from error
    return tokenizer


def _tokenizer_class(model: Path) -> Any:
    """The class to load a tokenizer with.

    Where all of it is in `tokenizer.json`, that is the class which `AutoTokenizer` would choose,
    taken without the seven seconds in which that one imports all of torch.
    """
    config = model / "tokenizer_config.json"
    if config.is_file() and (model / "tokenizer.json").is_file():
        values = json.loads(config.read_text(encoding="utf-8"))
        if values.get("tokenizer_class") in _PLAIN_CLASSES and "auto_map" not in values:
            from transformers import PreTrainedTokenizerFast

            return PreTrainedTokenizerFast
    from transformers import AutoTokenizer

    return AutoTokenizer


def _convert_gguf(gguf: Path) -> Path:
    if not gguf.is_file():
        raise InputError(f"model {gguf}: no such file; give the path of an existing .gguf file")
    target = cache_dir() / f"{gguf.stem}-{_content_key(gguf)}"
    if target.is_dir():
        return target
    partial = target.with_name(f"{target.name}.partial-{uuid.uuid4().hex[:8]}")
    partial.mkdir(parents=True)
    try:
        _write_hf_folder(gguf, partial)
        # Two converters may race: the loser cannot replace a full folder and drops its own copy.
        with contextlib.suppress(OSError):
            os.replace(partial, target)
        if not target.is_dir():
            raise OSError(f"{target} cannot be written")
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _content_key(gguf: Path) -> str:
    """Key of a file's content: its size and a sample at its start, every 64 MiB and at its end."""
    size = gguf.stat().st_size
    digest = hashlib.blake2b(f"{_CONVERSION_VERSION}:{size}".encode(), digest_size=6)
    with gguf.open("rb") as file:
        for offset in (*range(0, size, _SAMPLE_EVERY_BYTES), max(0, size - _SAMPLE_BYTES)):
            file.seek(offset)
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def _write_hf_folder(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source: dict[str, Any] = {"gguf_file": gguf.name, "dtype": torch.bfloat16}
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    dequantized = AutoModelForCausalLM.from_pretrained(gguf.parent, **source)
    # A model loaded from GGUF keeps quantization metadata that save_pretrained rejects.
    config = dequantized.config
    for leftover in ("quantization_config", "_pre_quantization_dtype"):
        if hasattr(config, leftover):
            delattr(config, leftover)
    fresh = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    fresh.load_state_dict(dequantized.state_dict())
    fresh.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
