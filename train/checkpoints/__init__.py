"""Checkpoints: one atomic unit, written while training goes on, read on any number of ranks.

    checkpoints/step-00000200/rank-00000.safetensors    fragments of weights and optimizer state
    checkpoints/step-00000200/rank-00001.safetensors
    checkpoints/step-00000200/rank-00000.json           sha256 and place of each fragment
    checkpoints/step-00000200/rank-00001.json
    checkpoints/step-00000200.json                      the marker: without it the folder is nothing

A weight of 10 elements on two ranks that keep 6 and 4 of it:

    rank 0   layer.weight@0   weight (6,)  exp_avg (6,)  exp_avg_sq (6,)     fp32
    rank 1   layer.weight@6   weight (4,)  exp_avg (4,)  exp_avg_sq (4,)

The places say where a fragment stands in the flattened weight, and not how ZeRO came to cut there:
another number of ranks, or another ZeRO stage, reads the ranges it needs from the same files, and
an export reads the weights alone.
"""
