"""Quality of instruction-response pairs: checks that drop them, figures that describe them."""
