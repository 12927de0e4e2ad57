"""Windows are read before they are asked for, and asking waits for nobody else's."""

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from pipeline.loader.windows import WindowCache
from pipeline.rows import RowBlock, empty_rows
from tests.processes import wait_for


@dataclass
class SlowRows:
    """A source of numbered windows of one row each; `open_gate` lets a reading thread go on."""

    gate: threading.Event = field(default_factory=threading.Event)
    read_by: dict[int, str] = field(default_factory=dict)

    @property
    def order(self) -> "SlowRows":
        return self

    def next_window(self, window: int) -> int:
        return window + 1

    def read(self, window: int) -> RowBlock:
        self.read_by[window] = threading.current_thread().name
        if threading.current_thread() is not threading.main_thread():
            assert self.gate.wait(30)
        return empty_rows(1, 4, np.dtype(np.uint16))


def cache_of(sources: list[SlowRows], num_threads: int) -> Any:
    rows: list[Any] = list(sources)
    return WindowCache(rows, num_threads)


@pytest.mark.parametrize("num_threads", [0, 1, 3])
def test_as_many_windows_ahead_as_there_are_threads(num_threads: int) -> None:
    source = SlowRows()
    source.gate.set()
    cache = cache_of([source], num_threads)
    cache.get(0, 5)
    assert wait_for(lambda: len(source.read_by) == 1 + num_threads)
    assert source.read_by.keys() == set(range(5, 6 + num_threads))
    assert source.read_by[5] == threading.main_thread().name
    cache.get(0, 6)
    assert wait_for(lambda: len(source.read_by) == 2 + num_threads)
    assert (source.read_by[6] != threading.main_thread().name) == (num_threads > 0)
    cache.close()


def test_a_window_that_no_thread_has_begun_is_read_by_who_needs_it() -> None:
    busy, waiting = SlowRows(), SlowRows()
    cache = cache_of([busy, waiting], 1)
    cache.get(0, 0)  # the only thread begins window 1 and is held up
    assert wait_for(lambda: 1 in busy.read_by)
    cache.get(1, 0)
    cache.get(1, 1)  # behind it
    assert waiting.read_by == {0: "MainThread", 1: "MainThread"}
    cache.get(1, 7)  # after a jump nobody wants window 2 any more
    busy.gate.set()
    waiting.gate.set()
    assert wait_for(lambda: 8 in waiting.read_by)
    assert 2 not in waiting.read_by
    cache.close()
