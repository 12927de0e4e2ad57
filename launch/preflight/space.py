"""Is there room on the disks: for what each stage writes, for Ray, for DeepSpeed's buffers?"""

import shutil
from collections.abc import Iterator
from pathlib import Path

from launch.preflight.findings import Check, Finding, ok, problem, shown_bytes, warning
from launch.preflight.shapes import size_of_trained
from launch.preflight.subject import Subject
from launch.stages import stages_of
from pipeline import storage
from pipeline.errors import InputError
from pipeline.ingest.readers import list_inputs
from pipeline.process import has_nvidia_driver
from train.config import TrainConfig

_LIMIT_S = 60.0
_COMPRESSED = (".zst", ".gz", ".parquet")
# Of the quickstart's speeches, as its stages write them; prose in other languages is alike.
_TEXT_PER_COMPRESSED_BYTE = 2.6
_CHAINS_PER_CONVERTED_BYTE = 2.0
_ROWS_PER_COMPRESSED_BYTE = 0.9
_CHECKPOINT, _EXPORT = 12, {"bfloat16": 2, "float16": 2, "float32": 4}
_LARGE = ("ingest", "synth", "filter", "pack", "train", "export")
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

    Args:
        subject: the run.
        hub: why the hub is out of reach; empty if it is not.
    """
    config, pending = subject.config, set(subject.pending)
    needed = _bytes_of_text_stages(subject)
    size = size_of_trained(config, hub) if {"train", "export"} & pending else None
    if size is not None:
        kept = checkpoints_kept(config.train)
        needed["train"] = _CHECKPOINT * size.num_trained * kept
        needed["export"] = _EXPORT[config.export.dtype] * size.num_parameters
    known = {name: each for name, each in needed.items() if name in pending}
    return known, [name for name in _LARGE if name in pending and name not in known]


def _bytes_of_text_stages(subject: Subject) -> dict[str, int]:
    """What the stages up to packing write; empty where nothing says how much text there is."""
    text = _compressed_text(subject)
    if text is None:
        return {}
    documents, converted = text
    chains = converted * _CHAINS_PER_CONVERTED_BYTE
    rows = (documents - converted + chains) * _ROWS_PER_COMPRESSED_BYTE
    sizes = {"ingest": documents, "synth": chains, "filter": chains, "pack": rows}
    return {name: round(size) for name, size in sizes.items()}


def checkpoints_kept(train: TrainConfig) -> int:
    """Checkpoints that are on the disk at once, at most: those kept, and the one being written."""
    num_all = -(-train.num_steps // train.checkpoint_every)
    for_good = train.num_steps // train.keep_every if train.keep_every else 0
    return min(num_all, train.keep_checkpoints + for_good + 1)


def _compressed_text(subject: Subject) -> tuple[float, float] | None:
    """Compressed bytes of all documents, and of those to be converted; None: not to be known."""
    config = subject.config
    if config.ingest is None:
        return None
    if (done := subject.complete.get("ingest")) is not None:
        total = float(sum(part.bytes for part in done.parts))
        return total, total * done.counts.get("convert", 0) / max(1, done.records_out)
    documents = converted = 0.0
    for source in config.ingest.sources.values():
        if source.dataset is not None:
            return None
        try:
            files = list_inputs(source)
        except InputError:  # which the check of that corpus says
            return None
        size = sum(
            file.size / (1 if file.uri.endswith(_COMPRESSED) else _TEXT_PER_COMPRESSED_BYTE)
            for file in files
        )
        documents, converted = documents + size, converted + size * source.convert_fraction
    return documents, converted


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
            "/tmp",
            f"{found}; Ray writes nothing on a disk that is fuller than {_RAY_LIMIT:.0%}",
            "make room there, or set RAY_TMPDIR to a folder with more",
        )
    else:
        yield ok("/tmp", found)


def _shared(subject: Subject) -> Iterator[Finding]:
    """Ray's object store, and the buffers in which ranks on CPUs add up their gradients."""
    uses_ray = bool({"synth", "pack"} & set(subject.pending))
    on_cpu = "train" in subject.pending and not has_nvidia_driver()
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
