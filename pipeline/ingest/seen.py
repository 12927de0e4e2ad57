"""Exact deduplication in flat memory."""

import sqlite3

_CACHE_KIB = 64 * 1024


class SeenKeys:
    """A set of byte keys that spills to a private temporary file beyond 64 MiB.

    SQLite unlinks that file at once, so a killed process leaves nothing behind.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("CREATE TABLE seen (key BLOB PRIMARY KEY) WITHOUT ROWID")
        # One transaction that never ends: a commit after each key would write its page out.
        self._database.execute("BEGIN")

    def add(self, key: bytes) -> None:
        """Add a key."""
        self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,))

    def __contains__(self, key: bytes) -> bool:
        """Whether a key was added."""
        found = self._database.execute("SELECT 1 FROM seen WHERE key = ?", (key,)).fetchone()
        return found is not None
