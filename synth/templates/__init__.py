"""Pairs into text: how an instruction-augmented document reads."""

from synth.templates.pools import Pools, load_pools, shipped_pools
from synth.templates.render import render_chain, render_document

__all__ = ["Pools", "load_pools", "render_chain", "render_document", "shipped_pools"]
