"""The texts that synthesizers are measured on, each with the examples that may stand before it.

    tasks/coqa/   4 held out ─┐                    c1 after (c2, c3) .. c4 after (c1, c2)
    tasks/squad/ 90 held out ─┴─▶ even shares: 12  s1 after (s2, s3) .. s8 after (s9, s10)

The order within a data set is that of a hash of content, so the choice is the same everywhere, and
raising `max_examples` only adds texts. Each text has examples of its own before it: one that is
untypical then spoils one prompt and not all.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline import storage
from pipeline.contracts import (
    Chain,
    Pair,
    decode_chain,
    document_id,
    is_held_out,
    stable_share,
    text_key,
)
from pipeline.errors import InputError
from pipeline.shards import read_lines
from pipeline.stage import read_commits, read_manifest
from synth.tasks import Task, Turn

_ORDER = "tune-eval"


@dataclass(frozen=True)
class HeldOutText:
    """One text to write pairs about."""

    id: str
    source: str
    """Its data set."""
    text: str
    gold: tuple[Pair, ...] = ()
    """The data set's own pairs; empty: there are none to compare with."""
    earlier: tuple[Turn, ...] = ()
    """Other texts of the data set with their gold pairs; n shots are the first n of them."""


def read_held_out(
    tasks_folder: str, heldout_fraction: float, max_examples: int, max_shots: int = 0
) -> list[HeldOutText]:
    """Texts that no synthesizer was tuned on, an even share of each data set, its texts together.

    Args:
        tasks_folder: folder of the stage that writes tuning examples, one text a chain.
        heldout_fraction: what packing held out by (`pack.heldout_fraction`).
        max_examples: most texts; data sets that have fewer leave their share to the others.
        max_shots: most earlier examples of a text.

    Raises:
        InputError: the stage is not complete, nothing is held out, or a shard is corrupt.
    """
    read_manifest(tasks_folder)
    shards: dict[str, list[str]] = {}
    for part, commit in read_commits(tasks_folder).items():
        shards.setdefault(part.rpartition("/")[0], []).append(
            storage.join(tasks_folder, commit.shard)
        )
    most = max_examples + max_shots
    chosen = {
        source: heapq.nsmallest(most, _held_out(uris, heldout_fraction), key=_order_of)
        for source, uris in shards.items()
    }
    if not any(chosen.values()):
        raise InputError(
            f"{tasks_folder}: none of {len(shards)} data sets has an example with a share below "
            f"heldout_fraction ({heldout_fraction}); raise it, or prepare more examples"
        )
    shares = even_shares({source: len(chains) for source, chains in chosen.items()}, max_examples)
    return [
        HeldOutText(
            id=chain.id,
            source=chain.source,
            text=chain.shots[0].text,
            gold=chain.shots[0].pairs,
            earlier=_earlier(chosen[source], number, max_shots),
        )
        for source, share in shares.items()
        for number, chain in enumerate(chosen[source][:share])
    ]


def plain_texts(texts: Iterable[str], source: str = "texts") -> list[HeldOutText]:
    """Texts without gold pairs, which so are measured without earlier examples only."""
    return [HeldOutText(document_id(source, text), source, text) for text in texts]


def even_shares(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """Parts of `total` for each name, as even as sizes allow; together `total`, or all there is.

    Returns:
        By name, in name order. Two parts differ by more than 1 only where the smaller one is all
        that its name has.
    """
    shares, left = {}, total
    by_size = sorted(sizes, key=lambda name: (sizes[name], name))
    for number, name in enumerate(by_size):
        shares[name] = min(sizes[name], left // (len(by_size) - number))
        left -= shares[name]
    return dict(sorted(shares.items()))


def _held_out(uris: Sequence[str], heldout_fraction: float) -> Iterator[Chain]:
    for uri in uris:
        for line in read_lines(uri):
            chain = decode_chain(line)
            assert len(chain.shots) == 1, f"{uri}: chain {chain.id} has several texts"
            if is_held_out(text_key(chain.shots[0].text), heldout_fraction):  # as packing decides
                yield chain


def _order_of(chain: Chain) -> tuple[float, str]:
    return stable_share(chain.id, _ORDER), chain.id


def _earlier(chains: Sequence[Chain], number: int, max_shots: int) -> tuple[Turn, ...]:
    """The examples that follow one in the order, the first ones after the last; never its text."""
    own = chains[number].shots[0].text
    shots = [chain.shots[0] for chain in (*chains[number + 1 :], *chains[:number])]
    usable = [shot for shot in shots if shot.pairs and shot.text != own]
    return tuple(Turn(shot.text, Task(), shot.pairs) for shot in usable[:max_shots])
