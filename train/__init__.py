"""Training: the DeepSpeed loop, checkpoints, export and evaluation."""
