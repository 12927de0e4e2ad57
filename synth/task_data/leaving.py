"""Which data sets are left out, by names and patterns."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase


class LeaveOut:
    """The patterns of `TasksConfig.leave_out`, and which of them matched something."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Take the patterns as the config has them."""
        self._patterns = {pattern: _plain(pattern) for pattern in patterns}
        self._unmatched = set(self._patterns)

    def covers(self, names: Iterable[str]) -> bool:
        """Whether one of a data set's names is to be left out."""
        plain_names = [_plain(name) for name in names]
        matched = {
            pattern
            for pattern, plain in self._patterns.items()
            if any(fnmatchcase(name, plain) for name in plain_names)
        }
        self._unmatched -= matched
        return bool(matched)

    def unmatched(self) -> list[str]:
        """Patterns that matched nothing so far, sorted."""
        return sorted(self._unmatched)


def _plain(name: str) -> str:
    return re.sub(r"[-_\s]", "", name).casefold()
