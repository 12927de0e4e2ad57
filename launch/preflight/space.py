"""Is there room on the disks: for what each stage writes, for Ray, for DeepSpeed's buffers?"""

import shutil
from collections.abc import Iterator
from pathlib import Path

from launch.preflight.findings import Check, Finding, ok, problem, shown_bytes, warning
from launch.preflight.shapes import size_of_trained
from launch.preflight.subject import Subject
from launch.stages import stages_of
from pipeline import storage
from pipeline.ingest.readers import list_inputs
from train.config import TrainConfig

_LIMIT_S = 60.0
_COMPRESSED = (".zst", ".gz", ".parquet")
TEXT_PER_COMPRESSED_BYTE = 3.0
"""Bytes of prose in a byte of zstd at the level that parts are written with."""
ROWS_PER_COMPRESSED_BYTE = 0.9
"""Bytes of packed rows for a byte of compressed text."""
_CHECKPOINT, _EXPORT = 12, {"bfloat16": 2, "float16": 2, "float32": 4}
_TIGHT = 0.8
_RAY_LIMIT = 0.95
_RAY_STORE, _RANK_BUFFER = 256 * 2**20, 66 * 2**20
_SHARED_MEMORY = Path("/dev/shm")


def space_checks(subject: Subject, hub: str) -> Iterator[Check]:
    """The checks of run.dir's disk, of /tmp and of shared memory.

    Args:
        subject: the run.
        hub: why the hub is out of reach; empty if it is not.
    """
    if not subject.pending:
        return
    yield Check("disk", lambda: _disk(subject, hub), _LIMIT_S)
    yield Check("/tmp", _temporary)
    yield Check("/dev/shm", lambda: _shared(subject))


def bytes_to_write(subject: Subject, hub: str) -> tuple[dict[str, int], list[str]]:
    """Estimates of what the stages to come write, by stage; and those of which there is none.

    Text is reckoned by its compressed size: documents as much as the corpus, chains twice the
    share of it that is converted (texts and pairs), once more in `filtered/`.
    """
    config, needed, unknown = subject.config, dict[str, int](), list[str]()
    documents = _bytes_of_documents(subject)
    share = 0.0
    if config.ingest is not None and config.synth is not None and documents is not None:
        sources = config.ingest.sources.values()
        share = max((source.convert_fraction for source in sources), default=0.0)
    augmented = 2 * share * (documents or 0)
    of_text = {
        "ingest": documents or 0,
        "synth": augmented,
        "filter": augmented,
        "pack": ((documents or 0) + augmented) * ROWS_PER_COMPRESSED_BYTE,
    }
    for name, size in of_text.items():
        if name in subject.pending and documents is None:
            unknown.append(name)
        elif name in subject.pending:
            needed[name] = round(size)
    size = size_of_trained(config, hub) if {"train", "export"} & set(subject.pending) else None
    if size is not None and "train" in subject.pending:
        needed["train"] = _CHECKPOINT * size.num_trained * checkpoints_kept(config.train)
    if size is not None and "export" in subject.pending:
        needed["export"] = _EXPORT[config.export.dtype] * size.num_parameters
    if size is None:
        unknown += [name for name in ("train", "export") if name in subject.pending]
    return needed, unknown


def checkpoints_kept(train: TrainConfig) -> int:
    """Checkpoints that are on the disk at once, at most: those kept, and the one being written."""
    num_all = -(-train.num_steps // train.checkpoint_every)
    for_good = train.num_steps // train.keep_every if train.keep_every else 0
    return min(num_all, train.keep_checkpoints + for_good + 1)


def _bytes_of_documents(subject: Subject) -> int | None:
    """Compressed bytes of all documents; None where a data set does not say how large it is."""
    config = subject.config
    if config.ingest is None:
        return 0
    if (done := subject.complete.get("ingest")) is not None:
        return sum(part.bytes for part in done.parts)
    total = 0.0
    for source in config.ingest.sources.values():
        if source.dataset is not None:
            return None
        for file in list_inputs(source):
            is_compressed = file.uri.endswith(_COMPRESSED)
            total += file.size / (1 if is_compressed else TEXT_PER_COMPRESSED_BYTE)
    return round(total)


def _disk(subject: Subject, hub: str) -> Iterator[Finding]:
    root = subject.config.folder.root
    needed, unknown = bytes_to_write(subject, hub)
    names = [stage.name for stage in stages_of(subject.config)]
    shown = ", ".join(f"{name} {shown_bytes(needed[name])}" for name in names if name in needed)
    total = sum(needed.values())
    found = f"about {shown_bytes(total)} still to write ({shown or 'nothing'})"
    if unknown:
        found += f", not counting {', '.join(unknown)}, whose size is not known here"
    if not storage.is_local(root):
        yield ok("disk", f"{found}; how much room {root} has cannot be asked")
        return
    path = Path(root)
    home = next(each for each in (path, *path.parents) if each.exists())
    free = shutil.disk_usage(home).free
    found += f"; {shown_bytes(free)} are free at {home}"
    remedy = "make room, set run.dir to a larger disk, or lower train.keep_checkpoints"
    if total > free:
        yield problem("disk", found, remedy)
    elif total > free * _TIGHT:
        yield warning("disk", found, remedy)
    else:
        yield ok("disk", found)


def _temporary() -> Iterator[Finding]:
    usage = shutil.disk_usage("/tmp")
    share = 1 - usage.free / usage.total
    found = f"{shown_bytes(usage.free)} free, {share:.0%} in use"
    if share > _RAY_LIMIT:
        yield problem(
            "/tmp", f"{found}; Ray writes nothing on a disk that is fuller than {_RAY_LIMIT:.0%}",
            "make room there, or set RAY_TMPDIR to a folder with more"
        )
    else:
        yield ok("/tmp", found)


def _shared(subject: Subject) -> Iterator[Finding]:
    """Ray's object store, and the buffers in which ranks on CPUs add up their gradients."""
    uses_ray = bool({"synth", "pack"} & set(subject.pending))
    on_cpu = "train" in subject.pending and not Path("/proc/driver/nvidia").exists()
    needed = max(
        _RAY_STORE if uses_ray else 0,
        _RANK_BUFFER * subject.config.train.num_ranks if on_cpu else 0,
    )
    free = shutil.disk_usage(_SHARED_MEMORY).free
    found = f"{shown_bytes(free)} free, {shown_bytes(needed)} needed by Ray or by ranks on CPUs"
    if needed > free:
        remedy = "enlarge it (docker run --shm-size=2g; in a pod an emptyDir of medium Memory)"
        yield problem("/dev/shm", found, remedy)
    else:
        yield ok("/dev/shm", found)
