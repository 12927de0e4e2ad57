"""Reading frames of row shards, by shard number and frame number."""

import threading
from collections import OrderedDict

from pipeline import storage
from pipeline.rows import ROWS_SUFFIX, RowBlock, decode_block
from pipeline.seekable import RangeReader, SeekableReader, open_seekable

_OPEN_SHARDS = 4096


class FrameReader:
    """Frames of the shards below one folder (one source and split); safe to share by threads."""

    def __init__(self, folder: str, reader: RangeReader) -> None:
        """Read shards below `folder` through `reader`, which all sources share."""
        self._folder, self._reader = folder, reader
        self._shards: OrderedDict[int, SeekableReader] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, part: int, frame: int) -> RowBlock:
        """Decode one frame.

        Raises:
            InputError: the shard is missing, or its bytes are not what was written.
        """
        shard = self._open(part)
        return decode_block(shard.read_frame(frame), shard.uri)

    def _open(self, part: int) -> SeekableReader:
        with self._lock:
            if part in self._shards:
                self._shards.move_to_end(part)
                return self._shards[part]
        shard = open_seekable(storage.join(self._folder, shard_name(part)), self._reader)
        with self._lock:
            self._shards[part] = shard
            if len(self._shards) > _OPEN_SHARDS:
                self._shards.popitem(last=False)
        return shard


def shard_name(part: int) -> str:
    """File name of a row shard; `part_number` reads it."""
    return f"part-{part:08d}{ROWS_SUFFIX}"


def part_number(name: str) -> int:
    """The number in the name or path of a row shard."""
    return int(name.rpartition("part-")[2].removesuffix(ROWS_SUFFIX))
