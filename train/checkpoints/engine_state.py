"""The fp32 weights and AdamW moments that DeepSpeed keeps, as fragments of named weights.

Where they are depends on the ZeRO stage: with 1 and 2 each rank has a stretch of all weights laid
end to end, with 3 an equal part of every weight, with 0 everything.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

WEIGHT = "weight"
KINDS = (WEIGHT, "exp_avg", "exp_avg_sq")
"""What there is of every weight; the moments are named as torch's AdamW names them."""

ReadRange = Callable[[str, str, int, int], torch.Tensor]
"""(name, kind, start, number of elements) -> flat fp32 tensor on the CPU."""


@dataclass(frozen=True)
class Fragment:
    """What a rank keeps of one weight."""

    name: str
    """As in the Hugging Face model."""
    shape: tuple[int, ...]
    """Of the whole weight."""
    start: int
    """First element kept, of the flattened weight."""
    tensors: dict[str, torch.Tensor]
    """By kind, each (elements,) fp32: views of what the optimizer works on."""

    @property
    def num_elements(self) -> int:
        """Elements kept."""
        return self.tensors[WEIGHT].numel()


class EngineState:
    """Access to the weights and optimizer state of a DeepSpeed engine."""

    def __init__(self, engine: Any, names: dict[torch.nn.Parameter, str]) -> None:
        """Make sure that the optimizer's state exists.

        Args:
            engine: a DeepSpeed engine around AdamW.
            names: of all trained weights.
        """
        self._engine, self._names = engine, names
        self._stage = int(engine.zero_optimization_stage())
        base = engine.basic_optimizer
        self._states = [_ensure_state(base, tensor) for tensor in self._flat_weights()]
        if self._stage in (1, 2):
            engine.optimizer._lazy_init_hp_params_optimizer_state()

    @property
    def num_steps(self) -> int:
        """Steps that the optimizer has taken."""
        return int(self._states[0]["step"].item())

    def fragments(self) -> Iterator[Fragment]:
        """What this rank writes: over all ranks, each element once."""
        num_ranks, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
        for fragment in self._kept():
            if self._stage > 0:
                yield fragment
                continue
            share = math.ceil(fragment.num_elements / num_ranks)
            start, end = rank * share, min((rank + 1) * share, fragment.num_elements)
            if start < end:
                tensors = {kind: each[start:end] for kind, each in fragment.tensors.items()}
                yield Fragment(fragment.name, fragment.shape, start, tensors)

    @torch.no_grad()
    def load(self, read: ReadRange, num_steps: int) -> None:
        """Put back what `read` gives, on every rank what it keeps; then what follows from it."""
        for fragment in self._kept():
            for kind, tensor in fragment.tensors.items():
                tensor.copy_(read(fragment.name, kind, fragment.start, fragment.num_elements))
        for state in self._states:
            state["step"].fill_(num_steps)
        self._refresh_computed_weights()

    def forget_gradients(self) -> None:
        """Drop the gradients of a step that DeepSpeed has passed over.

        With offload it keeps them, and would go on adding to what is not finite.
        """
        if self._stage in (1, 2) and hasattr(self._engine.optimizer, "averaged_gradients"):
            kept = self._engine.optimizer.averaged_gradients
            for group in kept:
                kept[group] = None

    def _kept(self) -> Iterator[Fragment]:
        """Everything this rank keeps."""
        kept_of = {0: self._whole, 1: self._linked, 2: self._linked, 3: self._partitioned}
        for weight, name in self._names.items():
            if fragment := kept_of[self._stage](weight, name):
                yield fragment

    def _whole(self, weight: torch.nn.Parameter, name: str) -> Fragment:
        state = self._engine.basic_optimizer.state[weight]
        tensors = {kind: state[kind].view(-1) for kind in KINDS[1:]}
        return Fragment(name, tuple(weight.shape), 0, {WEIGHT: weight.detach().view(-1)} | tensors)

    def _linked(self, weight: torch.nn.Parameter, name: str) -> Fragment | None:
        """Of stages 1 and 2, through the links from weights to the flat partition."""
        link: Any = weight._hp_mapping  # type: ignore[attr-defined]
        if link is None:  # it lies in another rank's stretch
            return None
        tensors = {kind: link.get_optim_state_fragment(kind).detach() for kind in KINDS[1:]}
        return Fragment(
            name,
            tuple(weight.shape),
            link.lp_fragment_address.start,
            {WEIGHT: link.hp_fragment.detach()} | tensors,
        )

    def _partitioned(self, weight: Any, name: str) -> Fragment | None:
        """Of stage 3: the rank's part, without what fills up the last one."""
        optimizer = self._engine.optimizer
        tensors = {}
        for kind in KINDS:
            key = None if kind == WEIGHT else kind
            part, _ = optimizer._get_fp32_opt_state_partition(weight, False, key)
            start = part.numel() * torch.distributed.get_rank()
            tensors[kind] = part.detach()[: max(0, weight.ds_numel - start)]
        if not tensors[WEIGHT].numel():
            return None
        return Fragment(name, tuple(weight.ds_shape), start, tensors)

    def _flat_weights(self) -> list[torch.Tensor]:
        """The fp32 tensors that the optimizer steps on."""
        optimizer = self._engine.optimizer
        if self._stage == 0:
            return list(self._names)
        for attribute in (
            "fp32_partitioned_groups_flat",  # stage 3
            "single_partition_of_fp32_groups",  # stages 1 and 2
            "fp32_groups_flat_partition",  # stage 1 in bf16
        ):
            if hasattr(optimizer, attribute):
                return list(getattr(optimizer, attribute))
        raise AssertionError(f"{type(optimizer)} keeps its weights where nobody knows")

    def _refresh_computed_weights(self) -> None:
        """Derive the weights that the model computes with, as after a step."""
        optimizer = self._engine.optimizer
        if self._stage in (1, 2):
            optimizer.update_lp_params()
        elif self._stage == 3:
            for group in range(len(optimizer.fp16_groups)):
                optimizer._reassign_or_swap_out_partitioned_parameters(group)
            if optimizer.persistent_parameters:
                optimizer.persistent_parameters[0].all_gather(optimizer.persistent_parameters)


def _ensure_state(optimizer: Any, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """The state of one of AdamW's tensors, made as its first step would."""
    state: dict[str, torch.Tensor] = optimizer.state[tensor]
    if not state:
        state["step"] = torch.zeros((), dtype=torch.float32, device=tensor.device)
        for kind in KINDS[1:]:
            state[kind] = torch.zeros_like(tensor, memory_format=torch.preserve_format)
    return state
