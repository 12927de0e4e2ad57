"""Pairs into text: how an instruction-augmented document reads."""

from synth.templates.pools import Pools, load_pools, shipped_pools
from synth.templates.render import ChainRenderer, render_chain, render_document

__all__ = [
    "ChainRenderer",
    "Pools",
    "load_pools",
    "render_chain",
    "render_document",
    "shipped_pools",
]
