"""The evaluation stage: held-out loss of every source, and a sample, from the exported model."""

import json
import math
from typing import Any

import numpy as np
import torch

from pipeline import storage
from pipeline.loader.batch import IGNORE_LABEL, make_batch
from pipeline.loader.packed import HELDOUT, open_rows
from pipeline.loader.windows import SourceRows
from pipeline.opening import open_stage
from pipeline.progress import StageProgress
from pipeline.rows import RowBlock
from pipeline.run_folder import REPORT_FILE, RunFolder
from pipeline.stage import FileEntry, Manifest, PartCommit, read_manifest
from train.config import EvalConfig
from train.model import token_losses

_ROWS_AT_ONCE, _ROWS_IN_MEMORY = 4, 1024


def run_eval(config: EvalConfig, folder: RunFolder) -> Manifest:
    """Measure the exported model on the held-out rows and write `eval/report.json`.

    Raises:
        InputError: the export is not complete, or `eval/` belongs to another config.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    exported, rows = read_manifest(folder.hf), read_manifest(folder.rows)
    trained = read_manifest(folder.train)
    trained.require_input("rows", rows, or_grown=True)
    exported.require_input("train", trained)
    stage = open_stage(folder.eval, "eval", config.model_dump(), {"hf": exported.input_key()})
    use_mask = bool(trained.config["document_mask"])
    if done := stage.finished():
        return done
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(folder.hf, dtype=dtype).to(device).eval()
    heldout = open_rows(folder.rows, HELDOUT)
    sources = {name: heldout.source(name) for name, size in heldout.sizes.num_rows.items() if size}
    losses: dict[str, list[tuple[float, int]]] = {}
    sizes = heldout.sizes.num_rows
    num_rows = sum(min(config.max_rows, size) for size in sizes.values())
    num_done = 0
    with StageProgress("eval", "rows", num_rows) as progress:
        for name, source in sources.items():
            for start, end, batch_losses in _evaluate(model, source, config.max_rows, use_mask):
                losses.setdefault(name, []).append(batch_losses)
                num_done += end - start
                progress.update(num_done, source=name)
    report = {
        "heldout": {name: _summary(batches) for name, batches in losses.items()},
        "sample": _sample(model, AutoTokenizer.from_pretrained(folder.hf), config),
    }
    data = json.dumps(report, indent=1, ensure_ascii=False).encode()
    storage.write_atomic(stage.uri(REPORT_FILE), data)
    entry = FileEntry.of(REPORT_FILE, 1, data)
    stage.commit(
        PartCommit(part="part-00000000", files=[entry], records_in=num_rows, records_out=num_rows)
    )
    return stage.close()


@torch.inference_mode()
def _evaluate(model: Any, source: SourceRows, max_rows: int, use_mask: bool) -> Any:
    """Yield (first row, end row, (loss sum, token count)) over the first `max_rows` rows."""
    num_rows = min(max_rows, source.table.num_rows)
    for first in range(0, num_rows, _ROWS_IN_MEMORY):
        rows = source.gather(source.table.in_order(first, min(first + _ROWS_IN_MEMORY, num_rows)))
        for start in range(0, rows.num_rows, _ROWS_AT_ONCE):
            end = min(start + _ROWS_AT_ONCE, rows.num_rows)
            yield first + start, first + end, _loss(model, rows.slice(start, end), use_mask)


def _loss(model: Any, rows: RowBlock, use_mask: bool) -> tuple[float, int]:
    """Loss summed over the trained tokens of some rows, and their number."""
    batch = make_batch(rows, np.zeros(rows.num_rows))
    ids, labels, positions, segments = (
        torch.from_numpy(array).to(model.device)
        for array in (batch.input_ids, batch.labels, batch.positions, batch.segment_ids)
    )
    losses = token_losses(model, ids, labels, positions, segments if use_mask else None)
    return float(losses.double().sum()), int((labels != IGNORE_LABEL).sum())


def _summary(batches: list[tuple[float, int]]) -> dict[str, float | int]:
    tokens = sum(count for _, count in batches)
    loss = sum(total for total, _ in batches) / max(1, tokens)
    return {"loss": loss, "perplexity": math.exp(min(loss, 700.0)), "tokens": tokens}


@torch.inference_mode()
def _sample(model: Any, tokenizer: Any, config: EvalConfig) -> dict[str, str]:
    encoded = tokenizer(config.prompt, return_tensors="pt").to(model.device)
    torch.manual_seed(0)
    output = model.generate(
        input_ids=encoded["input_ids"],
        attention_mask=encoded["attention_mask"],
        max_new_tokens=config.sample_tokens,
        do_sample=True,
        temperature=0.8,
        top_k=50,
        repetition_penalty=1.2,
        pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
    )
    new_ids = output[0, encoded["input_ids"].shape[1] :]
    completion = tokenizer.decode(new_ids, skip_special_tokens=True)
    return {"prompt": config.prompt, "completion": str(completion)}
