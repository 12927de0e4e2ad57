"""AdamW, its groups of weights, and steps that it is told not to take."""

from typing import Any

import torch

from train.config import OptimizerConfig


def make_optimizer(model: torch.nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW; matrices decay, norms and biases (vectors) do not.

    Args:
        model: its trained weights, each once, however many modules share it.
        config: rates and decays.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    # With ZeRO-3 a weight is empty outside its module, and knows its shape all the same.
    num_dims = {id(weight): len(getattr(weight, "ds_shape", weight.shape)) for weight in weights}
    decayed = [weight for weight in weights if num_dims[id(weight)] >= 2]
    others = [weight for weight in weights if num_dims[id(weight)] < 2]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.peak_lr,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        fused=True,
    )


class Veto:
    """Lets an optimizer's step come to nothing, whoever calls it.

    DeepSpeed calls `step` at a place of its own; what it does around it, such as letting go of the
    gradients, happens all the same.
    """

    def __init__(self, optimizer: Any) -> None:
        """Take the place of `optimizer.step`."""
        self.is_on = False
        """Whether steps come to nothing."""
        self._step = optimizer.step
        optimizer.step = self._take

    def _take(self, *arguments: Any, **options: Any) -> Any:
        return None if self.is_on else self._step(*arguments, **options)
