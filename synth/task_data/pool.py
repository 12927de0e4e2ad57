"""All examples that were read, in a private temporary file, merged by data set and context.

    squad, "Paris is ...": Q1, Q2 ─┐
    squad, "Paris is ...": Q2, Q3 ─┴▶  squad, "Paris is ...": Q1, Q2, Q3

Memory stays flat: SQLite keeps 64 MiB and spills the rest to a file that it unlinks at once, so a
killed process leaves nothing behind.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from pipeline.contracts import Pair, document_id, encode, pair_of
from synth.pairs import asked_question
from synth.task_data.config import FormatName
from synth.task_data.examples import TaskExample

_CACHE_KIB = 64 * 1024
_SCHEMA = """
CREATE TABLE example (
    number INTEGER PRIMARY KEY, id TEXT UNIQUE, dataset TEXT, context TEXT,
    source TEXT, format TEXT, file TEXT, line INTEGER, num_pairs INTEGER
);
CREATE TABLE pair (
    number INTEGER PRIMARY KEY, example INTEGER, question BLOB, pair BLOB,
    UNIQUE (example, question)
);
CREATE TABLE dropped (number INTEGER PRIMARY KEY, folder TEXT, record BLOB);
CREATE INDEX dropped_folder ON dropped (folder);
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an example is from."""

    source: str
    format: FormatName
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class PooledExample:
    """An example with all pairs on its context, in the order in which they were read."""

    id: str
    dataset: str
    context: str
    pairs: tuple[Pair, ...]
    place: Place
    """Of the first record that had this context."""


class ExamplePool:
    """Examples, and beside them the records that were dropped."""

    def __init__(self) -> None:
        """Start empty."""
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.executescript(_SCHEMA)
        # One transaction that never ends: a commit after each row would write its page out.
        self._database.execute("BEGIN")

    def add(self, example: TaskExample, place: Place) -> tuple[bool, int]:
        """Add an example, or its pairs to the one that has its context.

        Returns:
            Whether its context was there, and how many of its pairs ask what was asked before.
        """
        identity = document_id(example.dataset, example.context)
        values = (identity, example.dataset, example.context)
        where = (place.source, place.format, place.file, place.line)
        is_new = self._insert(
            "INSERT OR IGNORE INTO example VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, 0)", *values, *where
        )
        number = self._one("SELECT number FROM example WHERE id = ?", identity)[0]
        num_added = sum(
            self._insert(
                "INSERT OR IGNORE INTO pair VALUES (NULL, ?, ?, ?)",
                number,
                hashlib.blake2b(asked_question(pair).encode(), digest_size=16).digest(),
                encode(pair),
            )
            for pair in example.pairs
        )
        self._insert(
            "UPDATE example SET num_pairs = num_pairs + ? WHERE number = ?", num_added, number
        )
        return not is_new, len(example.pairs) - num_added

    def rank(self) -> None:
        """Order the examples of each data set; to be called once all are there."""
        self._database.execute("CREATE INDEX ranking ON example (dataset, num_pairs DESC, id)")

    def datasets(self) -> list[str]:
        """Names of all data sets, sorted."""
        rows = self._database.execute("SELECT DISTINCT dataset FROM example ORDER BY dataset")
        return [name for (name,) in rows]

    def ranked(self, dataset: str) -> Iterator[tuple[int, int]]:
        """Number in the pool and number of pairs of a data set's examples.

        Those with the most pairs come first, those with as many in the order of their ids.
        """
        yield from self._database.execute(
            "SELECT number, num_pairs FROM example WHERE dataset = ? ORDER BY num_pairs DESC, id",
            (dataset,),
        )

    def example(self, number: int) -> PooledExample:
        """One example by its number."""
        identity, dataset, context, *place = self._one(
            "SELECT id, dataset, context, source, format, file, line FROM example WHERE number = ?",
            number,
        )
        rows = self._database.execute(
            "SELECT pair FROM pair WHERE example = ? ORDER BY number", (number,)
        )
        pairs = tuple(pair_of(orjson.loads(line)) for (line,) in rows)
        return PooledExample(identity, dataset, context, pairs, Place(*place))

    def note_dropped(self, folder: str, record: dict[str, Any]) -> None:
        """Keep a record that was dropped, to be listed in a folder."""
        self._insert("INSERT INTO dropped VALUES (NULL, ?, ?)", folder, orjson.dumps(record))

    def dropped(self, folder: str) -> Iterator[dict[str, Any]]:
        """The records to be listed in a folder, in order."""
        rows = self._database.execute(
            "SELECT record FROM dropped WHERE folder = ? ORDER BY number", (folder,)
        )
        for (line,) in rows:
            yield orjson.loads(line)

    def _insert(self, statement: str, *values: object) -> int:
        return self._database.execute(statement, values).rowcount

    def _one(self, statement: str, *values: object) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self._database.execute(statement, values).fetchone()
        return row
