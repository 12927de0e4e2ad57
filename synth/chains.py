"""Chains: each document is written about in sight of the documents and pairs before it.

With M = 2 and documents A B C D, where B brings no pair:

    A ──▶ pairs ─┐
                 └▶ B ──▶ no pair      chains: [A]  [B raw]
    C ──▶ pairs ─┐
                 └▶ D ──▶ pairs        chains: [C D]

Groups run side by side and no round waits for another group: the request for D goes out the moment
C's reply is there, while C's prefix is still in the KV cache.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.contracts import Chain, Document, Shot, chain_id
from synth.config import SynthConfig
from synth.engines import Engine
from synth.protocols import WireProtocol, fit_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass
class Tally:
    """Counts of one part: documents, pairs, tokens, drops by reason."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, amount: int = 1) -> None:
        """Add to one count."""
        self.counts[name] += amount

    def add_all(self, prefix: str, counts: Counter[str]) -> None:
        """Add several counts under a common prefix."""
        for name, amount in counts.items():
            self.counts[f"{prefix}.{name}"] += amount


class ChainRunner:
    """Writes chains with one engine; all parts of a worker share it."""

    def __init__(
        self,
        config: SynthConfig,
        tokenizer: "PreTrainedTokenizerBase",
        protocol: WireProtocol,
        engine: Engine,
        provenance: dict[str, str],
    ) -> None:
        """Bind an engine to its protocol."""
        self._config, self._tokenizer = config, tokenizer
        self._protocol, self._engine = protocol, engine
        self._provenance = provenance
        self._prompt_budget = config.max_model_len - config.max_new_tokens

    async def run(
        self, documents: Sequence[Document], tally: Tally, on_document: Callable[[Tally], None]
    ) -> list[Chain]:
        """Write all chains of one part's documents.

        Args:
            documents: documents of one source, in part order.
            tally: receives the counts.
            on_document: called after each document, for progress.

        Returns:
            Chains in document order; every document is a shot of exactly one.
        """
        size = self._config.shots_per_chain
        groups = [documents[start : start + size] for start in range(0, len(documents), size)]
        chains = await asyncio.gather(
            *(self._run_group(group, tally, on_document) for group in groups)
        )
        return [chain for of_group in chains for chain in of_group]

    async def _run_group(
        self, group: Sequence[Document], tally: Tally, on_document: Callable[[Tally], None]
    ) -> list[Chain]:
        chains: list[list[Shot]] = [[]]
        for document in group:
            shot = await self._write_shot(chains[-1], document, tally)
            if shot.pairs:
                chains[-1].append(shot)
            else:  # breaks the chain: the text stays raw, what follows starts afresh
                chains += [[shot], []]
                tally.add("documents_without_pair")
            tally.add("documents")
            on_document(tally)
        source = group[0].source
        return [self._chain(source, shots) for shots in chains if shots]

    async def _write_shot(self, history: Sequence[Shot], document: Document, tally: Tally) -> Shot:
        prompt = await asyncio.to_thread(
            fit_prompt, self._protocol, history, document.text, self._prompt_budget
        )
        reply = await self._engine.generate(prompt.token_ids)
        text = self._tokenizer.decode(reply.token_ids, skip_special_tokens=True)
        parsed = self._protocol.parse(str(text), is_finished=reply.is_finished)
        tally.add("prompt_tokens", len(prompt.token_ids))
        tally.add("output_tokens", len(reply.token_ids))
        tally.add("pairs", len(parsed.pairs))
        tally.add_all("pairs_dropped", parsed.dropped)
        tally.add_all("prompts", prompt.events)
        return Shot(document.id, document.text, tuple(parsed.pairs))

    def _chain(self, source: str, shots: Sequence[Shot]) -> Chain:
        identity = chain_id([shot.doc_id for shot in shots])
        return Chain(identity, source, tuple(shots), self._provenance)
