"""The learning rate of every step."""

import math

from train.config import OptimizerConfig


def learning_rate(config: OptimizerConfig, step: int, num_steps: int) -> float:
    """Learning rate of a step (from 0): linear warm-up, then the decay that the config names."""
    if step < config.warmup_steps:
        return config.peak_lr * (step + 1) / config.warmup_steps
    begin = config.warmup_steps
    if config.schedule == "wsd":  # Hu et al., 2024, arXiv 2404.06395
        begin = max(begin, round(num_steps * (1 - config.decay_fraction)))
    progress = min(1.0, max(0, step - begin) / max(1, num_steps - begin))
    share = (
        0.5 * (1 + math.cos(math.pi * progress)) if config.schedule == "cosine" else 1 - progress
    )
    return config.peak_lr * (config.final_lr_ratio + (1 - config.final_lr_ratio) * share)
