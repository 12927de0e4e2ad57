"""The ranks of a run, joined; what they agree on; and what DeepSpeed would leave behind of them."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

_SHARED_MEMORY = Path("/dev/shm")


def join_ranks() -> int:
    """Join the ranks that the launcher started; returns this one's number.

    On CPUs, DeepSpeed adds up gradients through a buffer of 66 MiB a rank in shared memory, whose
    name it never removes: the memory would be gone until the machine starts anew. Once all ranks
    have mapped the buffers nobody needs the names, and without them the memory is given back with
    the processes, however these end.
    """
    import deepspeed

    deepspeed.init_distributed(
        dist_backend="nccl" if torch.cuda.is_available() else "gloo", verbose=False
    )
    torch.distributed.barrier()
    rank = int(torch.distributed.get_rank())
    run = f"{os.getuid()}_{os.environ['MASTER_ADDR']}_{os.environ['MASTER_PORT']}"
    (_SHARED_MEMORY / f"deepspeed_allreduce_buffer_{run}_{rank}").unlink(missing_ok=True)
    return rank


class Host:
    """Numbers that ranks exchange from host to host, without waiting for an accelerator."""

    def __init__(self) -> None:
        """Every rank of the run takes part; all make theirs at the same point."""
        self.num_ranks = torch.distributed.get_world_size()
        self.rank = torch.distributed.get_rank()
        has_gloo = torch.distributed.get_backend() == "gloo"
        self._group = None if has_gloo else torch.distributed.new_group(backend="gloo")

    def sum(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """(n,) fp64, added up over ranks."""
        total = torch.tensor(np.asarray(values, dtype=np.float64))
        torch.distributed.all_reduce(total, group=self._group)
        summed: np.ndarray = total.numpy()
        return summed

    def any(self, flag: bool) -> bool:
        """Whether the flag is up on one rank at least."""
        return bool(self.sum([float(flag)])[0])

    def from_first(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """(n,) fp64, those of rank 0."""
        of_first = np.asarray(values, dtype=np.float64)
        return self.sum(of_first if self.rank == 0 else np.zeros_like(of_first))

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.sum([0.0])
