"""Context-based task data of the world in the common form, to tune a synthesizer on."""
