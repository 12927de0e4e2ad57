"""The dict that `deepspeed.initialize` takes, from the typed config; never written by hand."""

from typing import Any

from train.config import TrainConfig


def deepspeed_config(config: TrainConfig, num_ranks: int) -> dict[str, Any]:
    """DeepSpeed's settings for a run on `num_ranks` ranks.

    Weights that DeepSpeed shards are computed with in bf16 and kept in fp32 beside; stage 0 keeps
    them in fp32 alone and computes under autocast, so that gradients add up in fp32 there, too.
    """
    accumulation = config.accumulation_steps(num_ranks)
    is_bf16, is_sharded = config.precision == "bf16", config.zero_stage > 0
    return {
        "train_batch_size": config.micro_rows * accumulation * num_ranks,
        "train_micro_batch_size_per_gpu": config.micro_rows,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": config.optimizer.clip_norm,
        "bf16": {"enabled": is_bf16 and is_sharded},
        "torch_autocast": {"enabled": is_bf16 and not is_sharded, "dtype": "bfloat16"},
        "data_types": {"grad_accum_dtype": "fp32"},
        "communication_data_type": "fp32",
        "zero_optimization": {
            "stage": config.zero_stage,
            "overlap_comm": False,
            "contiguous_gradients": True,
            **_offload(config),
        },
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 2**31 - 1,
    }


def _offload(config: TrainConfig) -> dict[str, Any]:
    host = {"device": "cpu", "pin_memory": True}
    optimizer = {"offload_optimizer": host} if config.offload != "none" else {}
    return optimizer | ({"offload_param": host} if config.offload == "all" else {})
