"""How a stage's folder is opened, filled part by part and closed, so that any kill is harmless.

    documents/
      stage.json              written first: who writes here (config, inputs, contract version)
      sotu/part-00000000.jsonl.zst  data, written atomically
      sotu/part-00000000.json       its sidecar, written after the data: the part is committed
      ...
      manifest.json           written last: the stage is complete

A second start finds `stage.json`, compares it field by field (`pipeline.opening`), and continues
after the committed parts. A file without a sidecar is work that was cut off: it is written again.
Where several may write one part at once, each writes files of its own names; the first sidecar
decides whose count.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import Field

from pipeline import storage
from pipeline.config import ConfigT, StrictConfig, flatten
from pipeline.contracts import CONTRACT_VERSION
from pipeline.errors import InputError, StaleStageError
from pipeline.names import RelativeName, read_record, require_inside

# `FileEntry` has a field `bytes`, which hides the type inside that class.
ReadBytes = bytes

STAGE_FILE, MANIFEST_FILE = "stage.json", "manifest.json"
_BEFORE_FILE = "manifest.before.json"  # while a folder grows: what it was when it was complete
_SIDECAR_SUFFIX = ".json"
_REQUESTS_AT_ONCE = 32


class FileEntry(StrictConfig):
    """One committed data file, its name relative to the stage's folder."""

    name: RelativeName
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

    part: RelativeName
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
        """What a later stage notes of this one; changes when this stage is made anew or grows."""
        return f"{self.fingerprint}:{self.instance}"

    def identity(self) -> StageIdentity:
        """What decided the stage's output."""
        return StageIdentity(
            version=self.version,
            stage=self.stage,
            config=self.config,
            inputs=self.inputs,
            instance=self.instance,
        )

    def require_input(self, name: str, current: "Manifest", or_grown: bool = False) -> None:
        """Refuse this stage's work if its input has been made anew, or has grown, since.

        Args:
            name: name of the input.
            current: the input as it is now.
            or_grown: whether one that has grown will do.

        Raises:
            StaleStageError: the input `name` is not the one this stage was made from.
        """
        used, present = self.inputs[name], current.input_key()
        has_grown = instance_of(used) == instance_of(present)
        if used == present or (has_grown and or_grown):
            return
        what, remedy = "was made anew", "`ipt run` does it again"
        if has_grown:
            what, remedy = "has grown", f"`ipt {self.stage} --allow-append` brings it up to date"
        raise StaleStageError(
            f"{name}/ {what} after the {self.stage} stage used it; {remedy}",
            fields=[f"inputs.{name}"],
            has_grown=has_grown,
        )


def instance_of(input_key: str) -> str:
    """Which execution of a stage a `Manifest.input_key` names; growing does not change it."""
    return input_key.rpartition(":")[2]


class StageFolder:
    """An open stage folder; made by `pipeline.opening.open_stage`."""

    def __init__(self, folder: str, identity: StageIdentity) -> None:
        """Take over `folder`, whose `stage.json` holds `identity`, or will after `adopt`."""
        self.folder, self.identity = folder, identity

    def committed(self) -> dict[str, PartCommit]:
        """Committed parts by name, in name order."""
        return read_commits(self.folder)

    def finished(self) -> Manifest | None:
        """The manifest if this stage is complete already, else None."""
        manifest = find_manifest(self.folder)
        is_ours = manifest is not None and manifest.fingerprint == self.identity.fingerprint()
        return manifest if is_ours else None

    def adopt(self) -> None:
        """Make a folder whose inputs have grown that of this identity: it is open again.

        The manifest of a complete one stays beside it until it is complete again; see `revert`.
        """
        if _same(find_identity(self.folder), self.identity):
            return
        if (complete := find_manifest(self.folder)) is not None:
            storage.write_atomic(self.uri(_BEFORE_FILE), _json(complete))
            storage.remove_file(self.uri(MANIFEST_FILE))
        storage.write_atomic(self.uri(STAGE_FILE), _json(self.identity))

    def before_growth(self) -> StageIdentity | None:
        """What the folder was when it was complete; None unless it grows from there."""
        uri = self.uri(_BEFORE_FILE)
        if self.finished() is not None or not storage.exists(uri):
            return None
        return _parse(Manifest, uri).identity()

    def revert(self) -> None:
        """Take back all that was committed since the folder began to grow: it is complete again.

        Cut off, the folder is of the old identity and has no manifest, by which `open_stage` knows
        that this is still to be done.
        """
        before = _parse(Manifest, self.uri(_BEFORE_FILE))
        storage.write_atomic(self.uri(STAGE_FILE), _json(before.identity()))
        kept = {entry.name for entry in before.parts}
        for commit in self.committed().values():
            if not {entry.name for entry in commit.files} <= kept:
                storage.remove_file(self.uri(commit.part + _SIDECAR_SUFFIX))
        self._remove_strays(kept)
        storage.write_atomic(self.uri(MANIFEST_FILE), _json(before))
        storage.remove_file(self.uri(_BEFORE_FILE))

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
            InputError: a part of `expected_parts` is not committed, or the folder is another run's.
        """
        if not _same(find_identity(self.folder), self.identity):
            raise InputError(
                f"{self.folder}: while this run was at work, another one took the folder over, for "
                f"inputs that have grown; run again to join it"
            )
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
        if not storage.create(self.uri(MANIFEST_FILE), _json(manifest)):
            if (first := self.finished()) is not None:
                return first
            # That of a run which had not seen what was added.
            storage.write_atomic(self.uri(MANIFEST_FILE), _json(manifest))
        storage.remove_file(self.uri(_BEFORE_FILE))
        return manifest

    def _remove_strays(self, committed_files: Collection[str]) -> None:
        """Remove files that killed or beaten writers left: partial ones, and those of no part."""
        for name in storage.list_files(self.folder):
            is_shard = _is_part_file(name) and not is_sidecar(name)
            if storage.is_partial(name) or (is_shard and name not in committed_files):
                storage.remove_file(self.uri(name))


def committed_names(folder: str) -> list[str]:
    """Names of all committed parts below `folder`, sorted; opens none of their sidecars."""
    return [
        name.removesuffix(_SIDECAR_SUFFIX)
        for name in storage.list_files(folder)
        if is_sidecar(name)
    ]


def read_commits(folder: str) -> dict[str, PartCommit]:
    """All committed parts below `folder` by name, in name order.

    Raises:
        InputError: a sidecar is none, or is another part's, or a file of a part leads elsewhere.
    """
    parts = committed_names(folder)
    require_inside(folder, [part + _SIDECAR_SUFFIX for part in parts])
    if storage.is_local(folder):
        commits = [_read_sidecar(folder, part) for part in parts]
    else:  # each is a request of its own, which waits more than it works
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
            commits = list(pool.map(lambda part: _read_sidecar(folder, part), parts))
    require_inside(folder, [entry.name for commit in commits for entry in commit.files])
    return dict(zip(parts, commits, strict=True))


def read_commit(folder: str, part: str) -> PartCommit:
    """The sidecar of one committed part; raises as `read_commits`."""
    require_inside(folder, [part + _SIDECAR_SUFFIX])
    commit = _read_sidecar(folder, part)
    require_inside(folder, [entry.name for entry in commit.files])
    return commit


def _read_sidecar(folder: str, part: str) -> PartCommit:
    uri = storage.join(folder, part + _SIDECAR_SUFFIX)
    commit = _parse(PartCommit, uri)
    if commit.part != part:
        raise InputError(
            f"{uri}: part = {commit.part!r}, but it stands where the sidecar of {part} belongs; "
            f"write the stage anew"
        )
    return commit


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
    return read_record(kind, uri, f"write the stage anew (contract version {CONTRACT_VERSION})")


def _same(found: StageIdentity | None, identity: StageIdentity) -> bool:
    return found is not None and found.fingerprint() == identity.fingerprint()


def _json(record: StrictConfig) -> ReadBytes:
    return record.model_dump_json(indent=1).encode()


def _sidecar(commit: PartCommit) -> ReadBytes:
    dropped = sum(commit.dropped.values())
    assert commit.records_in == commit.records_out + dropped, commit
    return _json(commit)


def _is_part_file(name: str) -> bool:
    return name.rpartition("/")[2].startswith("part-")


def is_sidecar(name: str) -> bool:
    """Whether a file of a stage's folder is a part's sidecar, by its name."""
    return _is_part_file(name) and name.endswith(_SIDECAR_SUFFIX)
