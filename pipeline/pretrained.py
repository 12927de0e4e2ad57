"""Where a model or tokenizer comes from: a folder, a hub name, a GGUF file, a packaged file.

package://NAME/model.gguf    ->  <site-packages>/NAME/model.gguf  ->  cache/<key>/ (HF folder)
/models/my-model.gguf        ->                                       cache/<key>/ (HF folder)
/models/adapter/ (LoRA)      ->  itself and its base              ->  cache/<key>/ (HF folder)
/models/my-model/, org/name  ->  unchanged, `from_pretrained` takes it as it is

`package://NAME/FOLDER` stands for that folder, which is a model or an adapter. What an adapter
names as its base is a model reference like any other.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.adapters import base_reference, has_tokenizer, is_adapter
from pipeline.errors import InputError
from pipeline.merging import write_merged

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PACKAGE_SCHEME = "package://"
_CONVERSION_VERSION = _MERGE_VERSION = 1
_SAMPLE_BYTES, _SAMPLE_EVERY_BYTES = 2**20, 2**26
_PLAIN_CLASSES = ("TokenizersBackend", "PreTrainedTokenizerFast")
_HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.py"]
_HUB_FILES_WITHOUT_SAFETENSORS = ["*.bin"]


def cache_dir() -> Path:
    """The folder for converted models: `$IPT_CACHE`, else `ipt` in the user's cache folder."""
    if configured := os.environ.get("IPT_CACHE"):
        return Path(configured)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ipt"


def resolve_package_path(reference: str) -> str:
    """Turn `package://NAME/PATH` into a path inside an installed package, without importing it.

    Any other reference comes back unchanged. PATH may hold glob characters.

    Raises:
        InputError: the package is not installed, or PATH leads out of it.
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
    if ".." in inside.split("/") or inside.startswith("/"):
        raise InputError(f"{reference}: must be a path inside the package, without ..")
    return str(Path(spec.submodule_search_locations[0]) / inside)


def resolve_model(reference: str) -> str:
    """Turn a model reference into what `from_pretrained` and vLLM accept.

    A GGUF file is converted once to a bfloat16 Hugging Face folder in `cache_dir()`; the folder of
    a LoRA adapter becomes one there, too, merged with its base.

    Args:
        reference: a folder, a hub name, a `.gguf` file, `package://NAME/FILE.gguf` or
            `package://NAME/FOLDER`.

    Raises:
        InputError: the reference looks like a path and nothing is there, or an adapter cannot be
            merged.
    """
    path = resolve_package_path(reference)
    if path.endswith(".gguf"):
        return str(_convert_gguf(Path(path)))
    if is_adapter(folder := Path(path).expanduser()):
        return str(_merge_adapter(folder))
    looks_like_path = path.startswith((".", "/", "~")) or reference != path
    if looks_like_path and not Path(path).expanduser().is_dir():
        raise InputError(
            f"model {reference!r}: no such folder; give a Hugging Face model folder, "
            f"a .gguf file or a hub name such as org/name"
        )
    return str(Path(path).expanduser()) if looks_like_path else path


def find_resolved(reference: str) -> str | None:
    """What `resolve_model` gives, without converting or merging anything.

    Args:
        reference: as for `resolve_model`.

    Returns:
        None where a GGUF file or an adapter is there, and work is left to do on it.

    Raises:
        InputError: as `resolve_model`.
    """
    path = resolve_package_path(reference)
    if path.endswith(".gguf"):
        target = _converted(Path(path))
        return str(target) if target.is_dir() else None
    folder = Path(path).expanduser()
    if not is_adapter(folder):
        return resolve_model(reference)
    base = find_resolved(base_reference(folder))
    if base is None or not Path(base).is_dir():
        return None
    target = _merged(folder, Path(base))
    return str(target) if target.is_dir() else None


def local_folder(reference: str) -> Path:
    """The folder of a model on this machine; a hub's is downloaded, if it is not there yet.

    Raises:
        InputError: there is none.
    """
    from huggingface_hub import snapshot_download

    model = resolve_model(reference)
    if Path(model).is_dir():
        return Path(model)
    try:
        folder = Path(snapshot_download(model, allow_patterns=_HUB_FILES))
        if not any(folder.rglob("*.safetensors")):
            snapshot_download(model, allow_patterns=_HUB_FILES_WITHOUT_SAFETENSORS)
    except (OSError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise InputError(
            f"model {reference!r} is no folder here and cannot be downloaded: {first_line}"
        ) from error
    return folder


def load_tokenizer(
    reference: str, *, revision: str = "", trust_remote_code: bool = False
) -> "PreTrainedTokenizerBase":
    """Load the tokenizer of a model reference (see `resolve_model`).

    Args:
        reference: as for `resolve_model`; an adapter's own tokenizer comes before its base's.
        revision: branch, tag or commit of a hub model.
        trust_remote_code: run code that ships with the tokenizer.

    Raises:
        InputError: no tokenizer can be loaded from there.
    """
    model = _tokenizer_source(reference)
    try:
        tokenizer: PreTrainedTokenizerBase = _tokenizer_class(Path(model)).from_pretrained(
            model, revision=revision or None, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise InputError(f"tokenizer {reference!r} cannot be loaded: {first_line}") from error
    return tokenizer


def _tokenizer_source(reference: str) -> str:
    """Where the tokenizer of a model is; for an adapter's, nothing needs to be merged."""
    folder = Path(resolve_package_path(reference)).expanduser()
    if not is_adapter(folder):
        return resolve_model(reference)
    return str(folder) if has_tokenizer(folder) else _tokenizer_source(base_reference(folder))


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
    return _made_once(_converted(gguf), lambda partial: _write_hf_folder(gguf, partial))


def _converted(gguf: Path) -> Path:
    """The folder that a GGUF file's conversion has, made or not."""
    if not gguf.is_file():
        raise InputError(f"model {gguf}: no such file; give the path of an existing .gguf file")
    return cache_dir() / f"{gguf.stem}-{_content_key(_CONVERSION_VERSION, gguf)}"


def _merge_adapter(folder: Path) -> Path:
    try:
        base = local_folder(base_reference(folder))
    except InputError as error:
        raise InputError(f"base of the adapter {folder}: {error}") from error
    return _made_once(_merged(folder, base), lambda partial: write_merged(folder, base, partial))


def _merged(folder: Path, base: Path) -> Path:
    """The folder that an adapter and its base have together, made or not."""
    files = [path for each in (folder, base) for path in sorted(each.iterdir()) if path.is_file()]
    return cache_dir() / f"{folder.name}-{_content_key(_MERGE_VERSION, *files)}"


def _made_once(target: Path, write: Callable[[Path], None]) -> Path:
    """The folder `target`, which `write` fills if it is not there yet."""
    if target.is_dir():
        return target
    partial = target.with_name(f"{target.name}.partial-{uuid.uuid4().hex[:8]}")
    partial.mkdir(parents=True)
    try:
        write(partial)
        # Two processes may race: the loser cannot replace a full folder and drops its own copy.
        with contextlib.suppress(OSError):
            os.replace(partial, target)
        if not target.is_dir():
            raise OSError(f"{target} cannot be written")
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _content_key(version: int, *files: Path) -> str:
    """Key of files' content: their sizes and samples at the start, every 64 MiB and at the end."""
    sizes = [file.stat().st_size for file in files]
    start = ":".join(map(str, (version, *sizes)))
    digest = hashlib.blake2b(start.encode(), digest_size=6)
    for path, size in zip(files, sizes, strict=True):
        with path.open("rb") as file:
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
