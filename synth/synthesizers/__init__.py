"""Synthesizers that ship: adapters, their data and how these were made."""
