"""`ipt audit`: prove from the shards themselves that no document was lost or used twice.

    input records ──ingest──▶ documents ──synth, filter──▶ shots ──pack──▶ rows ──train──▶ steps
                     │ dropped

Every document id is followed from its part through its chain into the index of the rows. Memory
grows with the documents of one part, not of the corpus.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson

from launch.stages import outdated_inputs, stages_in
from pipeline import storage
from pipeline.contracts import decode_chain, decode_document
from pipeline.ingest.seen import SeenKeys
from pipeline.loader.packed import HELDOUT, TRAIN
from pipeline.names import require_inside
from pipeline.run_folder import RunFolder
from pipeline.shards import read_lines
from pipeline.stage import Manifest, find_manifest, read_commit, read_commits
from train.metrics import read_metrics


@dataclass
class AuditResult:
    """What an audit found; `problems` are lines for people."""

    documents: int = 0
    lost: int = 0
    duplicated: int = 0
    problems: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether the run holds what it should."""
        return not (self.lost or self.duplicated or self.problems)


def audit_run(folder: RunFolder) -> AuditResult:
    """Check every complete stage of a run; a stage that is missing or unfinished is a problem."""
    result = AuditResult()
    stages = stages_in(folder)
    manifests: dict[str, Manifest] = {}
    for stage in stages:
        path = stage.folder_of(folder)
        manifest = find_manifest(path)
        if manifest is None:
            result.problems.append(f"{stage.name}: not complete ({path} has no manifest)")
            continue
        manifests[stage.name] = manifest
        _check_balance(stage.name, path, manifest, result)
        result.problems += outdated_inputs(manifest, manifests)
    if "ingest" in manifests:
        # A tuning packs its task data, not the documents that some of them were made of.
        is_tuning = any(stage.name == "tasks" for stage in stages)
        followed = {name: each for name, each in manifests.items() if name != "pack"}
        followed = followed if is_tuning else manifests
        _check_unique(folder.documents, result)
        _check_ingest(folder.documents, manifests["ingest"], result)
        for part in read_commits(folder.documents):
            _follow_part(folder, part, followed, result)
        _check_parts(folder, followed, result)
    if "tasks" in manifests:
        _follow_tasks(folder, manifests, result)
    if "train" in manifests:
        _check_steps(folder, manifests["train"], result)
    return result


def _check_parts(folder: RunFolder, manifests: dict[str, Manifest], result: AuditResult) -> None:
    """No stage holds a part that its input does not have."""
    known = set(read_commits(folder.documents))
    for stage, path in (("synth", folder.augmented), ("filter", folder.filtered)):
        if stage in manifests:
            for part in sorted(set(read_commits(path)) - known):
                result.problems.append(f"{stage} {part}: documents has no such part")
    if "pack" in manifests:
        for part in read_commits(folder.rows):
            source, _, basename = part.partition("/")
            if f"{source.rpartition('-')[0]}/{basename}" not in known:
                result.problems.append(f"pack {part}: documents has no such part")


def _check_balance(stage: str, path: str, manifest: Manifest, result: AuditResult) -> None:
    """Records in = out + dropped, in the manifest and in the sidecars, and every file is there."""
    dropped = sum(manifest.dropped.values())
    result.lines.append(
        f"{stage:<7} in {manifest.records_in:,} = "
        f"out {manifest.records_out:,} + dropped {dropped:,}"
    )
    if manifest.records_in != manifest.records_out + dropped:
        result.problems.append(f"{stage}: records in do not equal records out + dropped")
    commits = read_commits(path).values()
    if sum(commit.records_out for commit in commits) != manifest.records_out:
        result.problems.append(f"{stage}: the sidecars do not add up to the manifest")
    require_inside(path, [entry.name for entry in manifest.parts])
    for entry in manifest.parts:
        uri = storage.join(path, entry.name)
        if not storage.exists(uri):
            result.problems.append(f"{stage}: {uri} is missing")
        elif storage.sha256_of(uri) != entry.sha256:
            result.problems.append(f"{stage}: {uri} is not what was committed (sha256 differs)")


def _check_unique(documents: str, result: AuditResult) -> None:
    seen = SeenKeys()
    for part in read_commits(documents):
        for line in read_lines(storage.join(documents, f"{part}.jsonl.zst")):
            key = bytes.fromhex(decode_document(line).id)
            result.documents += 1
            if key in seen:
                result.duplicated += 1
            seen.add(key)


def _check_ingest(documents: str, manifest: Manifest, result: AuditResult) -> None:
    """The documents and dropped records that are really there are those the manifest counts."""
    dropped: Counter[str] = Counter()
    for entry in manifest.parts:
        if entry.name.startswith("dropped/"):
            for line in read_lines(storage.join(documents, entry.name)):
                dropped[orjson.loads(line)["reason"]] += 1
    if dropped != Counter(manifest.dropped):
        result.problems.append("ingest: dropped/ does not hold the records that were counted")
    if result.documents != manifest.records_out:
        difference = manifest.records_out - result.documents
        result.lost += max(0, difference)
        result.problems.append(f"ingest: {difference} documents fewer than the manifest counts")


def _follow_part(
    folder: RunFolder, part: str, manifests: dict[str, Manifest], result: AuditResult
) -> None:
    """Compare the documents of one part with its shots and with its rows."""
    converted: Counter[str] = Counter()
    raw: Counter[str] = Counter()
    for line in read_lines(storage.join(folder.documents, f"{part}.jsonl.zst")):
        document = decode_document(line)
        (converted if document.is_converted else raw)[document.id] += 1
    source, _, basename = part.partition("/")
    for stage, path in (("synth", folder.augmented), ("filter", folder.filtered)):
        if stage in manifests:
            _compare(f"{stage} {part}", converted, Counter(_shot_ids(path, part)), result)
    if "pack" in manifests:
        packed_raw = Counter(_packed_ids(folder, f"{source}-raw", basename))
        _compare(f"pack {source}-raw/{basename}", raw, packed_raw, result)
        packed = Counter(_packed_ids(folder, f"{source}-augmented", basename))
        _compare(f"pack {source}-augmented/{basename}", converted, packed, result)


def _follow_tasks(folder: RunFolder, manifests: dict[str, Manifest], result: AuditResult) -> None:
    """Compare task data with their rows; an example longer than a row was dropped and counted."""
    seen = SeenKeys()
    packed_parts = read_commits(folder.rows) if "pack" in manifests else {}
    known = set()
    for part in read_commits(folder.tasks):
        examples = Counter(_shot_ids(folder.tasks, part))
        result.documents += examples.total()
        for key in map(bytes.fromhex, examples.elements()):
            result.duplicated += key in seen
            seen.add(key)
        if "pack" not in manifests:
            continue
        dataset, _, basename = part.partition("/")
        name = f"{dataset}-tasks/{basename}"
        known.add(name)
        packed, num_dropped = Counter[str](), 0
        if name in packed_parts:  # rows without a sidecar are none
            packed = Counter(_packed_ids(folder, f"{dataset}-tasks", basename))
            num_dropped = sum(packed_parts[name].dropped.values())
        missing = list((examples - packed).elements())
        if num_dropped > len(missing):
            result.problems.append(
                f"pack {name}: {num_dropped} are counted as dropped, {len(missing)} are not there"
            )
        _compare(f"pack {name}", examples - Counter(missing[:num_dropped]), packed, result)
    for name in sorted(packed_parts.keys() - known):
        result.problems.append(f"pack {name}: tasks has no such part")


def _shot_ids(folder: str, part: str) -> Iterator[str]:
    try:
        commit = read_commit(folder, part)
    except FileNotFoundError:  # lost, as the comparison will show
        return
    for line in read_lines(storage.join(folder, commit.shard)):
        for shot in decode_chain(line).shots:
            yield shot.doc_id


def _packed_ids(folder: RunFolder, source: str, basename: str) -> Iterator[str]:
    """Document ids in the rows of a part; of a document split over rows its first piece counts."""
    for split in (TRAIN, HELDOUT):
        uri = storage.join(folder.rows, f"{source}/{split}/{basename}.index.jsonl.zst")
        if not storage.exists(uri):
            continue
        for line in read_lines(uri):
            for segment in orjson.loads(line):
                if segment["start"] == 0:
                    yield from segment["documents"]


def _compare(where: str, expected: Counter[str], found: Counter[str], result: AuditResult) -> None:
    lost = (expected - found).total()
    duplicated = (found - expected).total()
    if lost or duplicated:
        result.problems.append(f"{where}: {lost} lost, {duplicated} beyond what went in")
    result.lost += lost
    result.duplicated += duplicated


def _check_steps(folder: RunFolder, manifest: Manifest, result: AuditResult) -> None:
    """Every step once, in order, each consuming exactly its rows."""
    per_step = int(manifest.config["rows_per_batch"])
    metrics = read_metrics(folder.metrics)
    steps = [line["step"] for line in metrics]
    if steps != list(range(1, manifest.counts["steps"] + 1)):
        result.problems.append("train: metrics.jsonl does not hold every step exactly once")
    if any(line["data/rows"] != line["step"] * per_step for line in metrics):
        result.problems.append("train: a step consumed other rows than the schedule says")
