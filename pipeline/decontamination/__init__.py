"""Decontamination: what of a training text stands in an evaluation set, by n-gram overlap."""
