"""How a stage's folder is opened, filled part by part and closed, so that any kill is harmless.

    documents/
      stage.json              written first: who writes here (config, inputs, contract version)
      sotu/part-00000000.jsonl.zst  data, written atomically
      sotu/part-00000000.json       its sidecar, written after the data: the part is committed
      ...
      manifest.json           written last: the stage is complete

A second start finds `stage.json`, compares it field by field, and continues after the committed
parts. A file without a sidecar is work that was cut off: it is written again. Where several may
write one part at once, each writes files of its own names; the first sidecar decides whose count.
"""

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import Field

from pipeline import storage
from pipeline.config import ConfigT, StrictConfig, flatten
from pipeline.contracts import CONTRACT_VERSION
from pipeline.errors import InputError, StaleStageError

# `FileEntry` has a field `bytes`, which hides the type inside that class.
ReadBytes = bytes

STAGE_FILE, MANIFEST_FILE = "stage.json", "manifest.json"
_SIDECAR_SUFFIX = ".json"
_REQUESTS_AT_ONCE = 32


class FileEntry(StrictConfig):
    """One committed data file, its name relative to the stage's folder."""

    name: str
    records: int
    tokens: int = 0
    bytes: int
    sha256: str

    @classmethod
    def of(cls, name: str, records: int, data: ReadBytes) -> "FileEntry":
        """The entry of a small file whose content is at hand."""
        digest = hashlib.sha256(data).hexdigest()
        return cls(name=name, records=records, bytes=len(data), sha256=digest)


class PartCommit(StrictConfig):
    """The sidecar of a part. `records_in == records_out + sum(dropped.values())` always holds."""

    part: str
    files: list[FileEntry]
    records_in: int
    records_out: int
    dropped: dict[str, int] = Field(default_factory=dict)
    counts: dict[str, int] = Field(default_factory=dict)
    cursor: dict[str, int] = Field(default_factory=dict)

    @property
    def shard(self) -> str:
        """Name of the file that holds the part's records: the first one."""
        return self.files[0].name

    def files_below(self, folder: str) -> list[str]:
        """Names of the part's files in a folder of the stage, such as `dropped`."""
        return [entry.name for entry in self.files if entry.name.startswith(f"{folder}/")]


class StageIdentity(StrictConfig):
    """What decides a stage's output, and `instance`, which tells one execution from another."""

    version: int = CONTRACT_VERSION
    stage: str
    config: dict[str, Any]
    inputs: dict[str, str]
    instance: str = ""

    def fields(self) -> dict[str, Any]:
        """Everything that must agree before a folder is reused, as dotted keys."""
        return flatten(
            {
                "contract_version": self.version,
                "stage": self.stage,
                "config": self.config,
                "inputs": self.inputs,
            }
        )

    def fingerprint(self) -> str:
        """blake2b-128 over `fields()`, 32 hex digits."""
        canonical = json.dumps(self.fields(), sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


class Manifest(StrictConfig):
    """The last file of a stage: what it holds, from what it was made, what was dropped."""

    version: int
    stage: str
    fingerprint: str
    instance: str
    config: dict[str, Any]
    inputs: dict[str, str]
    parts: list[FileEntry]
    records_in: int
    records_out: int
    dropped: dict[str, int]
    counts: dict[str, int]

    def input_key(self) -> str:
        """What a later stage notes of this one; changes whenever this stage is made anew."""
        return f"{self.fingerprint}:{self.instance}"

    def require_input(self, name: str, current: "Manifest") -> None:
        """Refuse this stage's work if its input has been made anew since.

        Raises:
            StaleStageError: the input `name` is not the one this stage was made from.
        """
        if self.inputs[name] != current.input_key():
            raise StaleStageError(
                f"{name}/ was made anew after the {self.stage} stage used it; "
                f"run the {self.stage} stage again (`ipt run` does all that is needed)",
                fields=[f"inputs.{name}"],
            )


class StageFolder:
    """An open stage folder; made by `open_stage`."""

    def __init__(self, folder: str, identity: StageIdentity) -> None:
        """Take over `folder`, whose `stage.json` holds `identity`."""
        self.folder, self.identity = folder, identity

    def committed(self) -> dict[str, PartCommit]:
        """Committed parts by name, in name order."""
        return read_commits(self.folder)

    def finished(self) -> Manifest | None:
        """The manifest if this stage is complete already, else None."""
        return find_manifest(self.folder)

    def save_identity(self) -> None:
        """Make the folder that of this identity, also where an input has changed."""
        data = self.identity.model_dump_json(indent=1).encode()
        storage.write_atomic(self.uri(STAGE_FILE), data)

    def commit(self, commit: PartCommit) -> None:
        """Commit a part whose files are all written."""
        storage.write_atomic(self.uri(commit.part + _SIDECAR_SUFFIX), _sidecar(commit))

    def commit_once(self, commit: PartCommit) -> bool:
        """Commit a part that others may be writing too, each to files of their own.

        Returns:
            Whether this commit counts; False: another one was first, and the files of this one,
            which nobody will ever read, have been removed.
        """
        if storage.create(self.uri(commit.part + _SIDECAR_SUFFIX), _sidecar(commit)):
            return True
        for entry in commit.files:
            storage.remove_file(self.uri(entry.name))
        return False

    def uri(self, name: str) -> str:
        """Path of a file of this stage."""
        return storage.join(self.folder, name)

    def is_committed(self, part: str) -> bool:
        """Whether a part is committed, by one look at its sidecar."""
        return storage.exists(self.uri(part + _SIDECAR_SUFFIX))

    def close(self, expected_parts: Collection[str] | None = None) -> Manifest:
        """Write the manifest over all committed parts and remove what killed runs left behind.

        Of several runs that close a stage they shared, one writes the manifest; all return it.

        Raises:
            InputError: a part of `expected_parts` is not committed.
        """
        committed = self.committed()
        missing = sorted(set(expected_parts or ()) - committed.keys())
        if missing:
            raise InputError(
                f"{self.folder}: {len(missing)} parts are not committed, {missing[0]} the first; "
                f"the folder must be on storage that all workers share; run again to go on"
            )
        commits = committed.values()
        dropped: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        for commit in commits:
            dropped.update(commit.dropped)
            counts.update(commit.counts)
        manifest = Manifest(
            version=self.identity.version,
            stage=self.identity.stage,
            fingerprint=self.identity.fingerprint(),
            instance=self.identity.instance,
            config=self.identity.config,
            inputs=self.identity.inputs,
            parts=[entry for commit in commits for entry in commit.files],
            records_in=sum(commit.records_in for commit in commits),
            records_out=sum(commit.records_out for commit in commits),
            dropped=dict(dropped),
            counts=dict(counts),
        )
        self._remove_strays({entry.name for entry in manifest.parts})
        data = manifest.model_dump_json(indent=1).encode()
        if storage.create(self.uri(MANIFEST_FILE), data):
            return manifest
        return read_manifest(self.folder)

    def _remove_strays(self, committed_files: Collection[str]) -> None:
        """Remove files that killed or beaten writers left: partial ones, and those of no part."""
        for name in storage.list_files(self.folder):
            is_shard = _is_part_file(name) and not _is_sidecar(name)
            if storage.is_partial(name) or (is_shard and name not in committed_files):
                storage.remove_file(self.uri(name))


def open_stage(
    folder: str,
    stage: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    may_change: Collection[str] = (),
) -> StageFolder:
    """Open a stage's folder for writing: a new one, or one with work of the same identity.

    Args:
        folder: path or URI of the stage's folder.
        stage: the stage's name.
        config: every setting that decides the output; JSON values.
        inputs: name of each input and the key of its present state.
        may_change: inputs that may be new ones, whose folder it is from `save_identity` on.

    Raises:
        StaleStageError: the folder holds work of another identity; names the fields that differ.
    """
    wanted = StageIdentity(
        stage=stage,
        # Through JSON, so that what is compared is what was stored (tuples become lists).
        config=json.loads(json.dumps(config)),
        inputs=dict(inputs),
        instance=uuid.uuid4().hex[:12],
    )
    stage_file = storage.join(folder, STAGE_FILE)
    found = find_identity(folder)
    if found is None and _has_work(folder):
        raise InputError(
            f"{folder} holds parts but no {STAGE_FILE} that says whose they are, as after a "
            f"removal that was cut off; remove {folder}"
        )
    data = wanted.model_dump_json(indent=1).encode()
    if found is None:
        if storage.create(stage_file, data):
            return StageFolder(folder, wanted)
        found = find_identity(folder)  # another run was a moment faster
        assert found is not None
    if found.fingerprint() == wanted.fingerprint():
        return StageFolder(folder, found)
    newer = {name: wanted.inputs[name] for name in may_change}
    grown = found.model_copy(update={"inputs": found.inputs | newer})
    if grown.fingerprint() == wanted.fingerprint() and find_manifest(folder) is None:
        return StageFolder(folder, grown)
    if _has_work(folder) or not storage.is_local(folder):
        require_same(folder, found, wanted)
    # A start that failed before its first part binds nobody; on an object store, where nothing
    # keeps two runs apart, it may be another run whose engines are starting.
    storage.write_atomic(stage_file, data)
    return StageFolder(folder, wanted)


def require_same(folder: str, found: StageIdentity, wanted: StageIdentity) -> None:
    """Refuse a folder whose identity differs from the one wanted.

    Raises:
        StaleStageError: lists each differing field with both values.
    """
    ours, theirs = wanted.fields(), found.fields()
    absent = "(absent)"
    names = [
        name
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name, absent) != theirs.get(name, absent)
    ]
    if names:
        raise StaleStageError(
            f"{folder} was written with other settings or inputs and is not touched:\n  "
            + "\n  ".join(
                f"{name}: the folder has {theirs.get(name, absent)!r}, this run wants "
                f"{ours.get(name, absent)!r}"
                for name in names
            )
            + f"\nremove {folder}, undo the change, or choose another run.dir",
            fields=names,
        )


def committed_names(folder: str) -> list[str]:
    """Names of all committed parts below `folder`, sorted; opens none of their sidecars."""
    return [
        name.removesuffix(_SIDECAR_SUFFIX)
        for name in storage.list_files(folder)
        if _is_sidecar(name)
    ]


def read_commits(folder: str) -> dict[str, PartCommit]:
    """All committed parts below `folder` by name, in name order."""
    uris = [storage.join(folder, name) for name in storage.list_files(folder) if _is_sidecar(name)]
    if storage.is_local(folder):
        commits = [_parse(PartCommit, uri) for uri in uris]
    else:  # each is a request of its own, which waits more than it works
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
            commits = list(pool.map(lambda uri: _parse(PartCommit, uri), uris))
    return {commit.part: commit for commit in commits}


def read_commit(folder: str, part: str) -> PartCommit:
    """The sidecar of one committed part."""
    return _parse(PartCommit, storage.join(folder, part + _SIDECAR_SUFFIX))


def read_manifest(folder: str) -> Manifest:
    """Read the manifest of a complete stage.

    Raises:
        InputError: the stage is not complete, or the manifest is of another contract version.
    """
    manifest = find_manifest(folder)
    if manifest is None:
        raise InputError(
            f"{folder}: no {MANIFEST_FILE}, so the stage that writes it is not complete; "
            f"run it first (`ipt run` does all in order)"
        )
    if manifest.version != CONTRACT_VERSION:
        raise InputError(
            f"{folder}: contract version {manifest.version}, this code reads {CONTRACT_VERSION}; "
            f"write the stage anew"
        )
    return manifest


def find_manifest(folder: str) -> Manifest | None:
    """The manifest of a stage's folder, or None while the stage is not complete."""
    uri = storage.join(folder, MANIFEST_FILE)
    if not storage.exists(uri):
        return None
    return _parse(Manifest, uri)


def find_identity(folder: str) -> StageIdentity | None:
    """Who writes in a stage's folder, or None for a folder that no stage has opened."""
    uri = storage.join(folder, STAGE_FILE)
    if not storage.exists(uri):
        return None
    return _parse(StageIdentity, uri)


def _parse(kind: type[ConfigT], uri: str) -> ConfigT:
    try:
        return kind.model_validate_json(storage.read_bytes(uri))
    except ValueError as error:
        first_line = str(error).splitlines()[0]
        raise InputError(
            f"{uri} cannot be read as a {kind.__name__} of contract version {CONTRACT_VERSION}: "
            f"{first_line}; write the stage anew"
        ) from error


def _has_work(folder: str) -> bool:
    """Whether a folder holds a manifest, a committed part or a complete checkpoint."""
    names = storage.list_files(folder)
    return any(_is_sidecar(name) or _is_marker(name) or name == MANIFEST_FILE for name in names)


def _sidecar(commit: PartCommit) -> ReadBytes:
    dropped = sum(commit.dropped.values())
    assert commit.records_in == commit.records_out + dropped, commit
    return commit.model_dump_json(indent=1).encode()


def _is_part_file(name: str) -> bool:
    return name.rpartition("/")[2].startswith("part-")


def _is_sidecar(name: str) -> bool:
    return _is_part_file(name) and name.endswith(_SIDECAR_SUFFIX)


def _is_marker(name: str) -> bool:
    basename = name.rpartition("/")[2]
    return basename.startswith("step-") and basename.endswith(_SIDECAR_SUFFIX)
