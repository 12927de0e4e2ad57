"""Launching: the command line, presets, the order of stages, summaries."""
