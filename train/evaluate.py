"""The evaluation stage, on the export: held-out loss of sources and kinds, a sample, tasks."""

import functools
import gc
import json
from typing import Any

import torch

from pipeline import storage
from pipeline.kept import model_key
from pipeline.opening import open_stage
from pipeline.progress import StageProgress
from pipeline.run_folder import REPORT_FILE, RunFolder
from pipeline.stage import FileEntry, Manifest, PartCommit, read_manifest
from train.attention import choose_backend, implementation_of
from train.comparison import load_model, score_model
from train.config import Attention, EvalConfig
from train.harness import Tasks
from train.heldout import evaluate, read_heldout
from train.model import PackedCausalLM
from train.scores import KeptScores, Scores, as_json
from train.suites import expand_suites, local_digest

_ROWS_AT_ONCE = 4


def run_eval(config: EvalConfig, folder: RunFolder, attention: Attention = "auto") -> Manifest:
    """Measure the exported model on the held-out rows and write `eval/report.json`.

    Args:
        config: what to measure.
        folder: of the run.
        attention: backend that the model was trained with.

    Raises:
        InputError: the export is not complete, `eval/` belongs to another config, or a task of
            `eval.tasks` is not usable.
    """
    exported, rows = read_manifest(folder.hf), read_manifest(folder.rows)
    trained = read_manifest(folder.train)
    trained.require_input("rows", rows, or_grown=True)
    exported.require_input("train", trained)
    inputs = {"hf": exported.input_key()}
    if config.tasks and (digest := local_digest(expand_suites(config.tasks), config.task_folder)):
        inputs["task_files"] = digest
    stage = open_stage(folder.eval, "eval", config.content_fields(), inputs)
    if done := stage.finished():
        return done
    scores = _score(config, folder)
    model = load_for_rows(folder.hf, attention)
    heldout = read_heldout(folder.rows, config.max_rows)
    with StageProgress("eval", "rows", len(heldout.rows)) as progress:
        losses = evaluate(
            PackedCausalLM(model),
            heldout,
            model.device,
            _ROWS_AT_ONCE,
            bool(trained.config["document_mask"]),
            progress.update,
        )
    report: dict[str, Any] = {
        "heldout": {name: each.summary() for name, each in losses.by_source.items()},
        "heldout_kinds": {name: each.summary() for name, each in losses.by_kind.items()},
        "sample": sample(model, folder.hf, config.prompt, config.sample_tokens),
    }
    if scores:
        report["tasks"] = as_json(scores)
    data = json.dumps(report, indent=1, ensure_ascii=False).encode()
    storage.write_atomic(stage.uri(REPORT_FILE), data)
    num_rows = len(heldout.rows)
    entry = FileEntry.of(REPORT_FILE, 1, data)
    stage.commit(
        PartCommit(
            part="part-00000000",
            files=[entry],
            records_in=num_rows,
            records_out=num_rows,
            counts={"tasks": len(scores)} if scores else {},
        )
    )
    return stage.close()


def _score(config: EvalConfig, folder: RunFolder) -> Scores:
    """Scores of the exported model on the config's tasks; nothing where it names none.

    The model is loaded for them apart, with an attention that is not for packed rows.
    """
    if not config.tasks:
        return {}
    tasks = Tasks(config)
    kept = KeptScores(folder.scores, tasks.settings)
    load = functools.partial(load_model, folder.hf)
    scores = score_model(tasks, kept, model_key(folder.hf), load)
    gc.collect()  # the harness's own cycles would hold this model beside the next
    return scores


def load_for_rows(folder: str, attention: Attention) -> Any:
    """Load an exported model with an attention for packed rows.

    Args:
        folder: the Hugging Face folder.
        attention: backend that it was trained with; `flex`, which is for GPUs only, becomes
            `auto` on a CPU.
    """
    from transformers import AutoModelForCausalLM

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    wanted = "auto" if attention == "flex" and device.type == "cpu" else attention
    implementation = implementation_of(choose_backend(wanted, device, dtype))
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation=implementation
    )
    return model.to(device).eval()


@torch.inference_mode()
def sample(model: Any, tokenizer: str, prompt: str, num_tokens: int) -> dict[str, str]:
    """A completion of `prompt`, drawn with a fixed seed.

    Args:
        model: a Hugging Face causal LM with all of its weights.
        tokenizer: reference or folder of its tokenizer.
        prompt: what is to be completed.
        num_tokens: at most so many.
    """
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(tokenizer)
    encoded = loaded(prompt, return_tensors="pt").to(model.device)
    attention = model.config._attn_implementation
    model.set_attn_implementation("sdpa")  # ours is for packed rows
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(0)
        output = model.generate(
            input_ids=encoded["input_ids"],
            attention_mask=encoded["attention_mask"],
            max_new_tokens=num_tokens,
            do_sample=True,
            temperature=0.8,
            top_k=50,
            repetition_penalty=1.2,
            use_cache=True,
            pad_token_id=loaded.pad_token_id or loaded.eos_token_id,
        )
    model.set_attn_implementation(attention)
    new_ids = output[0, encoded["input_ids"].shape[1] :]
    return {"prompt": prompt, "completion": str(loaded.decode(new_ids, skip_special_tokens=True))}
