"""Synthesis: instruction-response pairs about documents, written by a language model."""
