"""A sample of fixed size that depends on what was seen, never on the order or the sharding.

keys are hashes of content, so uniform; the sample is the `size` smallest of them
(bottom-k sampling, Cohen and Kaplan 2007): the union of two samples, cut to the `size`
smallest, is the sample of the union
"""

_SLACK = 2


class ContentSample:
    """The values of the smallest keys seen so far, at most `size` of them."""

    def __init__(self, size: int) -> None:
        """Start empty."""
        self.size = size
        self._values: dict[bytes, str] = {}
        self._limit = b""
        """Keys from here on are out; empty while the sample is not full."""

    def add(self, key: bytes, value: str) -> None:
        """Offer a value; the same key twice counts once.

        Args:
            key: hash of the content that `value` was drawn from, of any fixed length.
            value: what to keep.
        """
        if self._limit and key >= self._limit:
            return
        self._values[key] = value
        if len(self._values) > _SLACK * self.size:
            self._prune()

    def merge(self, other: "ContentSample") -> None:
        """Take in another sample of the same size."""
        for key, value in other._values.items():
            self.add(key, value)

    def values(self) -> list[str]:
        """The sampled values in the order of their keys; a prefix is a sample of its own."""
        self._prune()
        return [self._values[key] for key in sorted(self._values)]

    def _prune(self) -> None:
        if len(self._values) <= self.size:
            return
        keys = sorted(self._values)
        self._limit = keys[self.size]
        self._values = {key: self._values[key] for key in keys[: self.size]}
