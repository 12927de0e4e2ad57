"""Inference engines behind one small protocol, and what keeps them alive."""
