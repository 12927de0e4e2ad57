"""Near-duplicate pairs across a corpus, by MinHash with banding, in flat memory.

    instruction -> word shingles -> num_perm minima \
                                                     b bands, each of r rows of both -> keys
    response    -> word shingles -> num_perm minima /                                    |
                                                                                         |
    duplicate  <=  some key equals a key of a pair kept earlier in the corpus  <---------+

Where the instructions have Jaccard similarity s_i and the responses s_r, some key is shared with
probability 1 - (1 - s^r)^b for s = s_i * s_r (Leskovec, Rajaraman and Ullman, Mining of Massive
Datasets, section 3.4). Both parts must be alike: "What is the main idea of the passage?" has
another answer for each text and stays, however long the question and short the answer. Options
belong to the instruction. Without `with_response`, s = s_i. `bands_and_rows` chooses b and r for a
threshold; with 128 hashes and threshold 0.7 that is b=14, r=9:

    s     0.3     0.4    0.5   0.6   0.7   0.8   0.9    1
    P     0.0003  0.004  0.03  0.13  0.44  0.87  0.999  1

So the threshold is the middle of a slope and not an edge: pairs well above it almost always fall,
identical ones always, pairs well below almost never. Candidates are not verified, since that
would mean keeping every signature; band keys of 8 bytes are all that is kept, and they spill to
disk (`SeenKeys`). Unrelated keys of the same value: about n / 2^64 a look-up.

Survivors depend on the order of the corpus and on nothing else: hashing is seeded, and the same in
every process.
"""

import hashlib
from array import array
from functools import lru_cache

import xxhash

from pipeline.contracts import Pair
from pipeline.ingest.seen import SeenKeys
from synth.quality.config import CorpusDedupConfig
from synth.quality.words import split_words

_STEPS = 200


class CorpusDeduplicator:
    """Tells pairs that are near a pair seen earlier, in corpus order."""

    def __init__(self, config: CorpusDedupConfig) -> None:
        """Start with an empty corpus."""
        self._config = config
        self._num_bands, self._num_rows = bands_and_rows(config.threshold, config.num_perm)
        self._seen = SeenKeys()

    def is_duplicate(self, pair: Pair, doc_id: str) -> bool:
        """Whether a pair is near one that was kept before; if it is not, it is kept.

        Asking again about a pair that was kept for this document says no again, so that a part
        may be done twice.

        Args:
            pair: the next pair of the corpus.
            doc_id: its document.
        """
        own_key = _own_key(pair, doc_id)
        if own_key in self._seen:
            return False
        keys = self._band_keys(pair)
        if any(key in self._seen for key in keys):
            return True
        self._keep(own_key, keys)
        return False

    def remember(self, pair: Pair, doc_id: str = "") -> None:
        """Take a pair as kept, for resuming from pairs already written.

        Args:
            pair: a pair that survived earlier.
            doc_id: its document; if given, asking about the pair again says no.
        """
        self._keep(_own_key(pair, doc_id), self._band_keys(pair))

    def _keep(self, own_key: bytes, band_keys: list[bytes]) -> None:
        self._seen.add(own_key)
        for key in band_keys:
            self._seen.add(key)

    def _band_keys(self, pair: Pair) -> list[bytes]:
        # What may be chosen is part of what is asked.
        signatures = [self._signature("\n".join((pair.instruction, *sorted(pair.options))))]
        if self._config.with_response:
            signatures.append(self._signature(f"{pair.reasoning}\n{pair.response}"))
        size = self._num_rows * 4
        bands = (
            b"".join(signature[band * size : (band + 1) * size] for signature in signatures)
            for band in range(self._num_bands)
        )
        return [
            position.to_bytes(2, "big") + xxhash.xxh3_64_digest(band)
            for position, band in enumerate(bands)
        ]

    def _signature(self, part: str) -> bytes:
        """MinHash of one part of a pair: num_perm times uint32."""
        from rensa import RMinHash

        sketch = RMinHash(num_perm=self._config.num_perm, seed=self._config.seed)
        sketch.update(_shingles(part, self._config.shingle_words))
        return array("I", sketch.digest()).tobytes()


@lru_cache(maxsize=64)
def bands_and_rows(threshold: float, num_perm: int) -> tuple[int, int]:
    """Bands and rows, of at most `num_perm` hashes, whose slope lies best about a threshold.

    Minimises the chance of a false duplicate summed over similarities below the threshold plus
    that of a missed one above it (Zhu et al. 2016, LSH Ensemble, section 5).
    """
    best, best_error = (1, 1), float("inf")
    similarities = [(step + 0.5) / _STEPS for step in range(_STEPS)]
    for num_bands in range(1, num_perm + 1):
        for num_rows in range(1, num_perm // num_bands + 1):
            error = 0.0
            for similarity in similarities:
                missed = (1.0 - similarity**num_rows) ** num_bands
                error += missed if similarity >= threshold else 1.0 - missed
            if error < best_error:
                best, best_error = (num_bands, num_rows), error
    return best


def _shingles(part: str, size: int) -> list[str]:
    words = split_words(part)
    if len(words) <= size:  # signs alone are told apart as they stand
        return [" ".join(words) or part.strip()]
    return [" ".join(words[start : start + size]) for start in range(len(words) - size + 1)]


def _own_key(pair: Pair, doc_id: str) -> bytes:
    digest = hashlib.blake2b(digest_size=12)
    for part in (doc_id, pair.instruction, *pair.options, pair.reasoning, pair.response):
        digest.update(part.encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    return b"pair" + digest.digest()
