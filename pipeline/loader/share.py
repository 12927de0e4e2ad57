"""How ranks share a global batch."""


def rows_per_rank(rows_per_batch: int, num_ranks: int, micro_rows: int) -> int:
    """Rows that every rank gets of a global batch, rows of padding included."""
    return -(-rows_per_batch // (num_ranks * micro_rows)) * micro_rows
