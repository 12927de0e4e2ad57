"""Batches of packed rows: row n of a run is the same for whoever asks, whenever, on any rank.

    n ──mixture──▶ source, draw ──order──▶ shard, frame, row ──windows──▶ tokens ──batch──▶ arrays

Two ranks, 4 rows a global batch:

    step 0:  rows n = 0 1 2 3        rank 0 takes 0 1,  rank 1 takes 2 3
    step 1:  rows n = 4 5 6 7        rank 0 takes 4 5,  rank 1 takes 6 7

The state of it all is n, and the events of the mixture if there are any.
"""
