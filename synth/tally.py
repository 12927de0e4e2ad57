"""Counts of synthesis: documents, pairs, tokens, and drops by reason."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Tally:
    """Counts of one part, or of one chain of it, which then count for the part at once."""

    counts: Counter[str] = field(default_factory=Counter)
    whole: "Tally | None" = None
    """What this is a part of."""

    def share(self) -> "Tally":
        """Counts of their own that count here, too."""
        return Tally(whole=self)

    def add(self, name: str, amount: int = 1) -> None:
        """Add to one count."""
        self.counts[name] += amount
        if self.whole is not None:
            self.whole.add(name, amount)

    def add_all(self, prefix: str, counts: Mapping[str, int]) -> None:
        """Add several counts under a common prefix; none, if it is empty."""
        for name, amount in counts.items():
            self.add(f"{prefix}.{name}" if prefix else name, amount)
