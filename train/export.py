"""The export stage: a checkpoint becomes a plain Hugging Face folder.

train/checkpoints/step-N  ──▶  hf/  config.json, model*.safetensors, tokenizer, README.md
                                   adapter/ of LoRA, which is merged into the model's weights

Weights go through memory a file at a time, and the optimizer's state is not read.
"""

import os
import re
import uuid
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from pipeline import storage
from pipeline.errors import InputError
from pipeline.mixture.config import MixtureConfig
from pipeline.opening import open_stage
from pipeline.pretrained import load_tokenizer
from pipeline.run_folder import RunFolder
from pipeline.stage import (
    FileEntry,
    Manifest,
    PartCommit,
    StageIdentity,
    find_identity,
    read_manifest,
)
from pipeline.weight_files import write_weights
from train.checkpoints.marker import CheckpointMarker, find_damage, list_complete
from train.checkpoints.reading import CheckpointReader
from train.config import ExportConfig, LoraConfig, ModelConfig
from train.identity import BASE, base_key
from train.lora import add_lora, export_lora
from train.metrics import heldout_losses, read_metrics, tokens_by_source
from train.model import load_shape

_LAYER = re.compile(r"^(.*?\.\d+)\.")


def run_export(config: ExportConfig, model_config: ModelConfig, folder: RunFolder) -> Manifest:
    """Write the trained weights as safetensors with tokenizer, config and model card.

    Args:
        config: weight type, licence, size of files.
        model_config: the model section of the training config.
        folder: the run; its training must be complete.

    Raises:
        InputError: training is not complete, or `hf/` belongs to another config.
    """
    trained = read_manifest(folder.train)
    stage = open_stage(folder.hf, "export", config.model_dump(), {"train": trained.input_key()})
    if done := stage.finished():
        return done
    marker = find_checkpoint(folder, trained.counts["steps"])
    partial = Path(folder.hf) / f".partial-{uuid.uuid4().hex[:8]}"
    _write_folder(partial, config, model_config, folder, trained.identity(), marker)
    entries = []
    for file in sorted(path for path in partial.rglob("*") if path.is_file()):
        name, data = str(file.relative_to(partial)), storage.sha256_of(str(file))
        entries.append(FileEntry(name=name, records=1, bytes=file.stat().st_size, sha256=data))
        (Path(folder.hf) / name).parent.mkdir(exist_ok=True)
        os.replace(file, Path(folder.hf) / name)
    storage.remove_tree(str(partial))
    stage.commit(PartCommit(part="part-00000000", files=entries, records_in=1, records_out=1))
    return stage.close()


def export_step(
    config: ExportConfig,
    model_config: ModelConfig,
    folder: RunFolder,
    step: int | None,
    output: Path,
) -> CheckpointMarker:
    """Write the model as it was after `step` steps, of a training that may still be under way.

    Args:
        config: weight type, licence, size of files.
        model_config: the model section of the training config.
        folder: the run.
        step: of a checkpoint that is there; None: of the newest.
        output: new folder for the model.

    Returns:
        what the checkpoint says of itself.

    Raises:
        InputError: there is no such checkpoint, or `output` exists.
    """
    if output.exists():
        raise InputError(f"{output} exists; give a new folder, or remove it")
    marker = find_checkpoint(folder, step)
    trained = find_identity(folder.train)
    assert trained is not None
    partial = output.with_name(f".partial-{output.name}-{uuid.uuid4().hex[:8]}")
    try:
        _write_folder(partial, config, model_config, folder, trained, marker)
        partial.rename(output)
    finally:
        storage.remove_tree(str(partial))
    return marker


def find_checkpoint(folder: RunFolder, step: int | None) -> CheckpointMarker:
    """The checkpoint after `step` steps (None: the newest), its files verified.

    Raises:
        InputError: it is not there, or damaged; says which are there.
    """
    trained = find_identity(folder.train)
    if trained is None:
        raise InputError(f"{folder.train}: no training has begun there; run ipt train first")
    found = list_complete(folder.checkpoints, trained.instance)
    complete = {marker.step: marker for marker in found}
    if step is None and complete:
        step = max(complete)
    if step is None:
        raise InputError(f"{folder.checkpoints}: no checkpoint is complete yet; wait for one")
    if step not in complete:
        there = ", ".join(map(str, sorted(complete))) or "none"
        raise InputError(
            f"{folder.checkpoints}: no checkpoint of step {step} (there: {there}); "
            f"train.keep_checkpoints and train.keep_every say which are kept"
        )
    if damage := find_damage(folder.checkpoints, complete[step]):
        raise InputError(f"the checkpoint of step {step} is damaged: {damage}; take another one")
    return complete[step]


def _write_folder(
    target: Path,
    config: ExportConfig,
    model_config: ModelConfig,
    folder: RunFolder,
    trained: StageIdentity,
    marker: CheckpointMarker,
) -> None:
    from transformers import AutoModelForCausalLM

    if BASE in trained.inputs and trained.inputs[BASE] != base_key(model_config):
        raise InputError(
            f"train.model.init_from ({model_config.init_from}): these are not the weights that the "
            f"adapter was trained on; bring those back, or train again"
        )
    rows = read_manifest(folder.rows)
    tokenizer_reference = str(rows.config["tokenizer"])
    shape = load_shape(model_config, tokenizer_reference)
    dtype = getattr(torch, config.dtype)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            shape, dtype=dtype, trust_remote_code=model_config.trust_remote_code
        )
    num_parameters = sum(weight.numel() for weight in model.parameters())
    target.mkdir(parents=True)
    reader = CheckpointReader(folder.checkpoints, marker)
    lora = _lora_of(trained)
    if lora is None:
        weights = _weights(reader, model, dtype)
    else:
        with torch.device("meta"):
            add_lora(model, lora, model_config.init_from)
        weights = export_lora(target, reader, model, model_config, dtype)
    write_weights(target, weights, int(config.max_shard_gib * 2**30))
    model.config.architectures = [type(model).__name__]
    model.config.use_cache = True
    model.config.save_pretrained(target)
    if model.generation_config is not None:
        model.generation_config.save_pretrained(target)
    load_tokenizer(tokenizer_reference).save_pretrained(target)
    kind = model.config.model_type
    card = _model_card(config, f"{kind}, {num_parameters:,} parameters", trained, marker, folder)
    (target / "README.md").write_text(card, "utf-8")


def _lora_of(trained: StageIdentity) -> LoraConfig | None:
    fields = trained.config.get("lora")
    return LoraConfig.model_validate(fields) if fields else None


def _weights(
    reader: CheckpointReader, model: Any, dtype: torch.dtype
) -> Iterator[tuple[str, torch.Tensor]]:
    """Weights under their names on a hub, layer by layer, which is how transformers renames them.

    Tied weights come once, as in `save_pretrained`.
    """
    from transformers.core_model_loading import revert_weight_conversion

    names = [name for name, _ in model.named_parameters() if name in reader.shapes]
    missing = reader.shapes.keys() - set(names)
    assert not missing, f"the model has no {', '.join(sorted(missing))}"

    def layer_of(name: str) -> str:
        found = _LAYER.match(name)
        return found[1] if found else name

    for _, group in groupby(names, layer_of):
        layer = {name: reader.weight(name).to(dtype) for name in group}
        yield from revert_weight_conversion(model, layer).items()
    kept = model.state_dict().keys()
    for name, buffer in reader.buffers().items():
        if name in kept:
            yield name, buffer


def _model_card(
    config: ExportConfig,
    model: str,
    trained: StageIdentity,
    marker: CheckpointMarker,
    folder: RunFolder,
) -> str:
    lines = read_metrics(folder.metrics)
    metrics = [line for line in lines if line["step"] <= marker.step]
    mixture = MixtureConfig.model_validate(trained.config["mixture"])
    tokens = sorted(tokens_by_source(metrics).items())
    data = "\n".join(f"| {source} | {count:,} |" for source, count in tokens)
    base = trained.config["model"]["init_from"] or "scratch"
    lora = _lora_of(trained)
    lora_line = (
        f"- LoRA: rank {lora.rank}, alpha {lora.alpha:g}, merged into {base}; alone in `adapter/`\n"
        if lora
        else ""
    )
    license_line = f"license: {config.license}\n" if config.license else ""
    losses = (
        f"{metrics[0]['loss']:.4f} at the first step, {metrics[-1]['loss']:.4f} at the last"
        if metrics
        else "not known"
    )
    return (
        f"---\n{license_line}library_name: transformers\npipeline_tag: text-generation\n"
        f"tags: [instruction-pre-training]\n---\n"
        f"# Model trained with instruct-pretrain\n\n"
        f"- architecture: {model}\n"
        f"- started from: {base}\n{lora_line}"
        f"- mixture: {mixture.describe()}\n"
        f"- steps: {marker.step}, rows a step: {trained.config['rows_per_batch']}\n"
        f"- training loss: {losses}\n{_heldout(metrics)}"
        f"- weights: {config.dtype}, from fp32\n"
        f"- fingerprint: {trained.fingerprint()}\n\n"
        f"| source | tokens trained on |\n|---|---|\n{data}\n"
    )


def _heldout(metrics: list[dict[str, Any]]) -> str:
    """A line of the last held-out losses, if there were any."""
    found = [losses for line in metrics if (losses := heldout_losses(line, "source"))]
    if not found:
        return ""
    each = (f"{loss:.4f} on {source}" for source, loss in sorted(found[-1].items()))
    return f"- held-out loss: {', '.join(each)}\n"
