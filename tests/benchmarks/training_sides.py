"""The Hugging Face Trainer's side of `training.py`; a rank, started by the DeepSpeed launcher."""

import argparse
import json
import os
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

VOCABULARY, PAD = 49_152, 2
DEEPSPEED = {
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "train_batch_size": "auto",
    "gradient_clipping": "auto",
    "bf16": {"enabled": "auto"},
    "zero_optimization": {"stage": 2, "overlap_comm": False, "contiguous_gradients": True},
}


class Texts(torch.utils.data.Dataset):
    """Rows, or paragraphs of their own lengths (cut at what the model can hold)."""

    def __init__(self, path: str, max_length: int) -> None:
        data = np.load(path)
        if "lengths" in data:
            edges = np.cumsum(data["lengths"])[:-1]
            self.rows = [each[:max_length] for each in np.split(data["tokens"], edges)]
        else:
            self.rows = list(data["tokens"])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> dict[str, Any]:
        return {"input_ids": torch.from_numpy(self.rows[number].astype(np.int64))}


class Collator:
    """Pads to the longest of the batch, as DataCollatorForLanguageModeling does; counts tokens."""

    def __init__(self) -> None:
        self.useful: list[int] = []

    def __call__(self, examples: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        rows = [example["input_ids"] for example in examples]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
        lengths = torch.tensor([len(row) for row in rows])
        mask = torch.arange(ids.shape[1])[None] < lengths[:, None]
        self.useful.append(int(lengths.sum()) - len(rows))
        batch = {"input_ids": ids, "labels": ids.masked_fill(~mask, -100)}
        return batch if bool(mask.all()) else batch | {"attention_mask": mask.long()}


class Clock(TrainerCallback):
    """When steps end."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.monotonic())


def main() -> None:
    """Train, and write the result on rank 0."""
    parser = argparse.ArgumentParser()
    for name in ("data", "shape", "precision", "result"):
        parser.add_argument(f"--{name}")
    for name in ("steps", "warmup", "batch", "local_rank"):
        parser.add_argument(f"--{name}", type=int, default=0)
    options = parser.parse_args()
    shape = json.loads(options.shape)
    torch.manual_seed(1)
    config = AutoConfig.for_model(**shape, vocab_size=VOCABULARY, pad_token_id=PAD)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    texts = Texts(options.data, shape["max_position_embeddings"])
    mean_length = sum(map(len, texts.rows)) / len(texts)
    batch = options.batch if options.batch > 0 else round(2048 / mean_length)
    collator, clock = Collator(), Clock()
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(Path(options.result).parent / "trainer"),
            per_device_train_batch_size=batch,
            max_steps=options.steps,
            learning_rate=1e-3,
            weight_decay=0.1,
            max_grad_norm=1.0,
            bf16=options.precision == "bf16",
            use_cpu=not torch.cuda.is_available(),
            deepspeed=DEEPSPEED,
            save_strategy="no",
            logging_steps=options.steps,
            report_to=[],
            disable_tqdm=True,
            seed=1,
        ),
        train_dataset=texts,
        data_collator=collator,
        callbacks=[clock],
    )
    trainer.train()
    seconds = clock.ends[-1] - clock.ends[options.warmup - 1]
    num_steps = len(clock.ends) - options.warmup
    useful = torch.tensor(float(np.mean(collator.useful)))
    torch.distributed.all_reduce(useful)
    if int(os.environ["RANK"]) == 0:
        Path(options.result).write_text(
            json.dumps(
                {
                    "useful tokens/s": float(useful) * num_steps / seconds,
                    "step, s": seconds / num_steps,
                    "peak GiB a rank": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
                    "mean loss": trainer.state.log_history[0]["loss"],
                }
            )
        )
    torch.distributed.barrier()
    os._exit(0)


if __name__ == "__main__":
    main()
