"""The ranks of a run, joined; and what DeepSpeed would leave behind of them."""

import os
from pathlib import Path

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
