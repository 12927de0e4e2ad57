"""DeepSpeed's side of `checkpoint.py`; a rank, started by the DeepSpeed launcher."""

import argparse
import json
import os
import shutil
import statistics
import time
from pathlib import Path

import deepspeed
import torch
from transformers import AutoConfig, AutoModelForCausalLM

SAVES = 3


def main() -> None:
    """Train a step, save a few times, and write the result on rank 0."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape")
    parser.add_argument("--folder")
    parser.add_argument("--local_rank", type=int, default=0)
    options = parser.parse_args()
    deepspeed.init_distributed(dist_backend="gloo", verbose=False)
    shape = json.loads(options.shape)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**shape), dtype=torch.float32)
    engine, *_ = deepspeed.initialize(
        model=model,
        optimizer=torch.optim.AdamW(model.parameters(), lr=1e-4),
        config={
            "train_micro_batch_size_per_gpu": 1,
            "zero_optimization": {"stage": 2},
            "zero_allow_untested_optimizer": True,
        },
    )
    ids = torch.randint(0, 300, (1, 64))
    engine.backward(engine(input_ids=ids, labels=ids).loss)
    engine.step()
    times, folder = [], Path(options.folder)
    for save in range(SAVES):
        torch.distributed.barrier()
        started = time.monotonic()
        engine.save_checkpoint(str(folder / "saves"), tag=f"save-{save}")
        times.append(time.monotonic() - started)
    if int(os.environ["RANK"]) == 0:
        files = [path for path in (folder / "saves" / "save-0").rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files) / 1e9
        result = {"stall, s": statistics.mean(times[1:]), "first stall, s": times[0], "GB": size}
        (folder / "result.json").write_text(json.dumps(result))
        shutil.rmtree(folder / "saves")
    torch.distributed.barrier()
    os._exit(0)


if __name__ == "__main__":
    main()
