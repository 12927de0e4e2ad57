"""The export stage: the last checkpoint becomes a plain Hugging Face folder.

train/checkpoints/step-N  ──▶  hf/  config.json, model.safetensors, tokenizer, README.md
"""

import contextlib
import io
import os
import uuid
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import InputError
from pipeline.mixture.config import MixtureConfig
from pipeline.opening import open_stage
from pipeline.pretrained import load_tokenizer
from pipeline.run_folder import RunFolder
from pipeline.stage import FileEntry, Manifest, PartCommit, read_manifest
from train import checkpoint
from train.config import ExportConfig, ModelConfig
from train.metrics import read_metrics
from train.model import build_model


def run_export(config: ExportConfig, model_config: ModelConfig, folder: RunFolder) -> Manifest:
    """Write the trained weights as safetensors with tokenizer, config and model card.

    Args:
        config: weight type and licence.
        model_config: the model section of the training config.
        folder: the run; its training must be complete.

    Raises:
        InputError: training is not complete, or `hf/` belongs to another config.
    """
    trained = read_manifest(folder.train)
    stage = open_stage(folder.hf, "export", config.model_dump(), {"train": trained.input_key()})
    if done := stage.finished():
        return done
    rows = read_manifest(folder.rows)
    trained.require_input("rows", rows, or_grown=True)
    tokenizer_reference = str(rows.config["tokenizer"])
    model = build_model(model_config, tokenizer_reference, seed=0)
    model.load_state_dict(_read_weights(folder, trained))
    model.to(getattr(torch, config.dtype))
    model.config.use_cache = True
    partial = Path(folder.hf) / f".partial-{uuid.uuid4().hex[:8]}"
    model.save_pretrained(partial)
    load_tokenizer(tokenizer_reference).save_pretrained(partial)
    (partial / "README.md").write_text(_model_card(config, model, trained, folder), "utf-8")
    entries = []
    for file in sorted(partial.iterdir()):
        entries.append(FileEntry.of(file.name, 1, file.read_bytes()))
        os.replace(file, Path(folder.hf) / file.name)
    partial.rmdir()
    stage.commit(PartCommit(part="part-00000000", files=entries, records_in=1, records_out=1))
    return stage.close()


def _read_weights(folder: RunFolder, trained: Manifest) -> dict[str, Any]:
    """Full weights of the last step's checkpoint, for any ZeRO stage.

    The fp32 master weights where ZeRO has them in a form its own tool reads, else the weights the
    model computed with.
    """
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    complete = checkpoint.list_complete(folder.checkpoints, trained.instance)
    last_step = trained.counts["steps"]
    if not complete or complete[-1].step != last_step:
        raise InputError(
            f"{folder.checkpoints}: the checkpoint of the last step ({last_step}) is gone; "
            f"remove {folder.train} and train again"
        )
    tag = checkpoint.tag_of(last_step)
    stage, precision = trained.config["zero_stage"], trained.config["precision"]
    if stage >= 2 or (stage == 1 and precision == "fp32"):
        with contextlib.redirect_stdout(io.StringIO()):  # it narrates each file it reads
            weights = get_fp32_state_dict_from_zero_checkpoint(folder.checkpoints, tag=tag)
        return dict(weights)
    states = Path(folder.checkpoints) / tag / "mp_rank_00_model_states.pt"
    # DeepSpeed's own file, written by this run and holding its client state beside the weights.
    return dict(torch.load(states, map_location="cpu", weights_only=False)["module"])


def _model_card(config: ExportConfig, model: Any, trained: Manifest, folder: RunFolder) -> str:
    metrics = read_metrics(folder.metrics)
    mixture = MixtureConfig.model_validate(trained.config["mixture"])
    header = f"---\nlicense: {config.license}\n---\n" if config.license else ""
    num_parameters = sum(weight.numel() for weight in model.parameters())
    return (
        f"{header}# Model trained with instruct-pretrain\n\n"
        f"- architecture: {model.config.model_type}, {num_parameters:,} parameters\n"
        f"- started from: {trained.config['model']['init_from'] or 'scratch'}\n"
        f"- mixture: {mixture.describe()}\n"
        f"- steps: {len(metrics)}, rows a step: {trained.config['rows_per_batch']}\n"
        f"- training loss: {metrics[0]['loss']:.4f} at the first step, "
        f"{metrics[-1]['loss']:.4f} at the last\n"
        f"- fingerprint: {trained.fingerprint}\n"
    )
