"""The journal of an unfinished part: its finished chains, so that a kill costs seconds of work.

    augmented/journal/sotu/part-00000042/00000-3f9a2c1e.jsonl.zst   some seconds' worth of groups
                                         00001-3f9a2c1e.jsonl.zst   the next

Each segment is written atomically under a name that no other attempt at the part uses. The part's
next attempt takes up the groups whose documents it still has; once it is committed, they go.
"""

import asyncio
import time
import uuid
from collections.abc import Iterator

import orjson

from pipeline import storage
from pipeline.contracts import pair_of, shot_of
from pipeline.errors import InputError
from pipeline.progress import log_line
from pipeline.shards import read_lines, write_shard
from synth.chains import DroppedPair, QuarantinedDocument, WrittenGroup

FOLDER = "journal"
_SEGMENT_INTERVAL_S = 10.0


class PartJournal:
    """The journal of one part, as `synth.chains.Journal` wants it."""

    def __init__(self, stage_folder: str, part: str) -> None:
        """Read what earlier attempts at the part left."""
        self._folder = storage.join(stage_folder, FOLDER, part)
        self._found = {group.key: group for group in self._read()}
        self._attempt = uuid.uuid4().hex[:8]
        self._num_segments = 0
        self._waiting: list[WrittenGroup] = []
        self._last_s = time.monotonic()
        self._writing = asyncio.Lock()

    def __len__(self) -> int:
        """Groups that were found."""
        return len(self._found)

    def find(self, key: str) -> WrittenGroup | None:
        """The group over exactly these documents, if an earlier attempt at the part wrote it."""
        return self._found.get(key)

    async def add(self, group: WrittenGroup) -> None:
        """Keep a group; it is on disk some seconds later."""
        self._waiting.append(group)
        if time.monotonic() - self._last_s >= _SEGMENT_INTERVAL_S and not self._writing.locked():
            async with self._writing:
                await asyncio.to_thread(self.flush)

    def flush(self) -> None:
        """Write what waits as a segment."""
        groups, self._waiting = self._waiting, []
        self._last_s = time.monotonic()
        if not groups:
            return
        name = f"{self._num_segments:05d}-{self._attempt}.jsonl.zst"
        self._num_segments += 1
        try:
            with write_shard(self._folder, name) as segment:
                for group in groups:
                    segment.write(group)
        except FileNotFoundError:  # another attempt has committed the part and removes its journal
            log_line(f"{self._folder} was removed; the part is committed already")

    def remove(self) -> None:
        """Remove the journal: the part is committed."""
        storage.remove_tree(self._folder)

    def _read(self) -> Iterator[WrittenGroup]:
        for name in storage.list_files(self._folder):
            if storage.is_partial(name):
                continue
            uri = storage.join(self._folder, name)
            try:
                yield from [decode_group(line) for line in read_lines(uri)]
            except InputError as error:  # damaged, or gone: its groups are written again
                log_line(f"a journal segment is left out: {error}")


def decode_group(line: bytes) -> WrittenGroup:
    """Read a group from its line."""
    values = orjson.loads(line)
    return WrittenGroup(
        shots=[shot_of(shot) for shot in values["shots"]],
        dropped=[
            DroppedPair(**{**dropped, "pair": pair_of(dropped["pair"])})
            for dropped in values["dropped"]
        ],
        quarantined=[QuarantinedDocument(**document) for document in values["quarantined"]],
        counts=values["counts"],
        provenance=values["provenance"],
    )
