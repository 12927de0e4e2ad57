"""Counts of one part of synthesis."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """Documents, pairs, tokens, and drops by reason."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, amount: int = 1) -> None:
        """Add to one count."""
        self.counts[name] += amount

    def add_all(self, prefix: str, counts: Counter[str]) -> None:
        """Add several counts under a common prefix."""
        for name, amount in counts.items():
            self.counts[f"{prefix}.{name}"] += amount
