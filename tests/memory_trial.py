"""What real DeepSpeed engines hold, beside what preflight reckons: `python tests/memory_trial.py`.

Run once for each rank (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_PORT). Rank 0 prints a line of JSON for
each ZeRO stage, precision and offload: bytes a parameter of all tensors that a rank holds before
its optimizer steps, on the device and on the host together, as found and as reckoned.
"""

import gc
import json
import os
import sys

import deepspeed
import torch

from launch.preflight.memory import state_bytes
from train.config import OptimizerConfig, TrainConfig
from train.deepspeed_config import deepspeed_config
from train.optimizer import make_optimizer
from train.process_group import join_ranks

CASES = [
    (0, "fp32", "none"),
    (1, "fp32", "none"),
    (1, "bf16", "none"),
    (2, "bf16", "none"),
    (3, "fp32", "none"),
    (3, "bf16", "none"),
    (2, "bf16", "optimizer"),
    (3, "bf16", "all"),
]
WIDTH, LAYERS, ACCUMULATION = 512, 32, 2
_BUCKET = 10**9
"""A tensor of this many bytes and more is the bucket of gradients, of fixed size."""


def held_bytes() -> int:
    """Bytes of all tensors that this process can reach, each storage once, without buckets."""
    gc.collect()
    storages = {}
    for thing in gc.get_objects():
        if isinstance(thing, torch.Tensor):
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(size for size in storages.values() if size < _BUCKET)


def found_and_reckoned(case: tuple[int, str, str], num_ranks: int) -> tuple[float, float]:
    """Bytes a parameter of one rank: found, and by `launch.preflight.memory`."""
    stage, precision, offload = case
    before = held_bytes()
    model = torch.nn.Sequential(*(torch.nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(LAYERS)))
    num_parameters = sum(weight.numel() for weight in model.parameters())
    config = TrainConfig.model_validate(
        {
            "model": {"shape": {"model_type": "llama"}},
            "num_steps": 1,
            "rows_per_batch": ACCUMULATION * num_ranks,
            "zero_stage": stage,
            "precision": precision,
            "offload": offload,
        }
    )
    engine, *_ = deepspeed.initialize(
        model=model,
        optimizer=make_optimizer(model, OptimizerConfig()),
        config=deepspeed_config(config, num_ranks),
    )
    dtype = torch.bfloat16 if precision == "bf16" and stage else torch.float32
    found = 0
    for number in range(2 * ACCUMULATION):
        loss = engine(torch.randn(1, WIDTH).to(dtype)).float().square().sum()
        engine.backward(loss)
        del loss
        found = held_bytes() - before
        if number < 2 * ACCUMULATION - 1:
            engine.step()
    engine.step()
    engine.destroy()
    parts = state_bytes(config, num_parameters, 0, num_ranks)
    # Gathered weights, the bucket and autocast's copies come and go within a pass.
    reckoned = sum(parts.values()) - parts["buffers"]
    return found / num_parameters, reckoned / num_parameters


def main() -> int:
    """Try all cases."""
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    join_ranks()
    for case in CASES:
        found, reckoned = found_and_reckoned(case, int(os.environ["WORLD_SIZE"]))
        gc.collect()
        if os.environ["RANK"] == "0":
            line = {"case": case, "found": round(found, 2), "reckoned": round(reckoned, 2)}
            print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
