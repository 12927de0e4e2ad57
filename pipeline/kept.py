"""What was measured of a model, kept so that nothing is measured twice.

<folder>/<key>.json: key over the model's files, what was measured of it, and the settings
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.errors import InputError
from pipeline.pretrained import resolve_model

_OF_NO_WEIGHT = ("stage.json", "manifest.json", "README.md")
_SAMPLE_BYTES = 2**20


class KeptRecords:
    """Records below one folder; each is there as soon as it is written."""

    def __init__(self, folder: str) -> None:
        """Take the folder, which need not be there yet."""
        self._folder = folder

    def find(self, identity: Mapping[str, Any]) -> dict[str, Any] | None:
        """The record of an identity, or None."""
        uri = self._uri(identity)
        if not storage.exists(uri):
            return None
        record: dict[str, Any] = json.loads(storage.read_bytes(uri))
        return record

    def keep(self, identity: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Write a record: the values, and all that decided them.

        Args:
            identity: everything that decides the values; as JSON.
            values: what was measured; as JSON, under other names than the identity's.
        """
        record = json.dumps({**identity, **values}, indent=1)
        storage.write_atomic(self._uri(identity), record.encode())

    def _uri(self, identity: Mapping[str, Any]) -> str:
        canonical = json.dumps(dict(identity), sort_keys=True)
        key = hashlib.blake2b(canonical.encode(), digest_size=12).hexdigest()
        return storage.join(self._folder, f"{key}.json")


def find_model(reference: str) -> str:
    """Folder or hub name of a model that is to be measured.

    Args:
        reference: a Hugging Face folder, a hub name, a GGUF file.

    Raises:
        InputError: nothing is there.
    """
    # A folder may be named without a leading ./, which then is no hub name.
    folder = str(Path(reference).absolute()) if Path(reference).is_dir() else reference
    path = resolve_model(folder)
    if Path(path).is_dir() and not (Path(path) / "config.json").is_file():
        raise InputError(
            f"model {reference!r}: {path} has no config.json; give an exported model, such as the "
            f"hf/ of a run (`ipt export` writes it)"
        )
    return path


def model_key(reference: str) -> str:
    """Key of a model's content: name, size and samples of each file; of a hub model, its name.

    Args:
        reference: what `find_model` gave.
    """
    folder = Path(reference)
    if not folder.is_dir():
        return reference
    digest = hashlib.blake2b(digest_size=12)
    # An adapter beside the model that it is merged into: most of that model may be as it was.
    files = [path for path in (*folder.iterdir(), *folder.glob("adapter/*")) if path.is_file()]
    for file in sorted(files):
        if file.name in _OF_NO_WEIGHT or file.name.startswith("part-"):
            continue  # they tell when the folder was made, not what is in it
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}:".encode())
        with file.open("rb") as opened:
            # Two checkpoints differ in every weight, so that samples tell them apart.
            for offset in sorted({0, size // 2, max(0, size - _SAMPLE_BYTES)}):
                opened.seek(offset)
                digest.update(opened.read(_SAMPLE_BYTES))
    return digest.hexdigest()
