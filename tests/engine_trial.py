"""Steps that come to nothing, on real DeepSpeed engines: `python tests/engine_trial.py`.

For every ZeRO stage, precision and offload: a run of good, bad and good steps must end in the bits
of a run of the good ones alone. Bad is a step that is vetoed, or one whose gradients are infinite.
Prints a line for each case that does not, and ends with exit code 1.
"""

import os
import sys

import deepspeed
import torch

from train.checkpoints.engine_state import EngineState
from train.config import OptimizerConfig, TrainConfig
from train.deepspeed_config import deepspeed_config
from train.optimizer import Veto, make_optimizer
from train.process_group import join_ranks

CASES = [
    (0, "fp32", "none"),
    (0, "bf16", "none"),
    (1, "fp32", "none"),
    (1, "bf16", "none"),
    (2, "bf16", "none"),
    (3, "bf16", "none"),
    (1, "bf16", "optimizer"),
    (2, "bf16", "optimizer"),
    (3, "bf16", "all"),
]
ACCUMULATION = 2


def weights_after(case: tuple[int, str, str], steps: str) -> list[torch.Tensor]:
    """The fp32 weights after some steps: `g` good, `v` vetoed, `i` with infinite gradients."""
    stage, precision, offload = case
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    config = TrainConfig.model_validate(
        {
            "model": {"shape": {"model_type": "llama"}},
            "num_steps": 1,
            "rows_per_batch": ACCUMULATION,
            "zero_stage": stage,
            "precision": precision,
            "offload": offload,
        }
    )
    engine, *_ = deepspeed.initialize(
        model=model,
        optimizer=make_optimizer(model, OptimizerConfig(peak_lr=0.01)),
        config=deepspeed_config(config, 1),
    )
    veto = Veto(engine.basic_optimizer)
    state = EngineState(engine, {each: name for name, each in model.named_parameters()})
    dtype = torch.bfloat16 if precision == "bf16" and stage else torch.float32
    num_good = 0
    for kind in steps:
        torch.manual_seed(num_good)
        num_good += kind == "g"
        veto.is_on = kind == "v"
        for _ in range(ACCUMULATION):
            loss = engine(torch.randn(1, 8).to(dtype)).float().square().sum()
            engine.backward(loss * float("inf") if kind == "i" else loss)
            engine.step()
        if stage and engine.optimizer.overflow:
            state.forget_gradients()
    assert state.num_steps == num_good, (case, steps, state.num_steps)
    return [each.tensors["weight"].clone() for each in state.fragments()]


def main() -> int:
    """Try all cases."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29741")
    join_ranks()
    num_failed = 0
    for case in CASES:
        expected = weights_after(case, "ggg")
        assert not torch.equal(expected[0], weights_after(case, "gg")[0]), "steps change nothing"
        for steps in ("gvgg", "vggg", "ggvvg") + (("gigg",) if case[0] else ()):
            found = weights_after(case, steps)
            if not all(map(torch.equal, expected, found)):
                print("differs:", case, steps, flush=True)
                num_failed += 1
    print(f"{len(CASES)} cases, {num_failed} failed", flush=True)
    return int(num_failed > 0)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
