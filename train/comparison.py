"""Several models on the tasks of a config, one after the other; what is measured is kept.

A model whose scores are all kept is not loaded. A kill costs the task under way.
"""

import functools
import gc
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pipeline.errors import InputError
from pipeline.kept import find_model, model_key
from pipeline.pretrained import load_tokenizer
from pipeline.progress import StageProgress
from train.harness import Tasks
from train.scores import KeptScores, Scores

ModelAndTokenizer = tuple[Any, Any]


def score_models(
    tasks: Tasks, scores_folder: str, references: Sequence[str]
) -> Iterator[tuple[str, Scores]]:
    """Yield each model's reference and scores, as they are measured.

    Args:
        tasks: what to score them on.
        scores_folder: where scores are kept.
        references: Hugging Face folders, hub names, GGUF files.

    Raises:
        InputError: one of the models is not there, before any is scored; or a task is not usable.
    """
    folders = {reference: find_model(reference) for reference in references}
    kept = KeptScores(scores_folder, tasks.settings)
    for reference, folder in folders.items():
        load = functools.partial(load_model, folder)
        yield reference, score_model(tasks, kept, model_key(folder), load)
        gc.collect()  # the harness's own cycles would hold one model beside the next


def score_model(
    tasks: Tasks, kept: KeptScores, key: str, load: Callable[[], ModelAndTokenizer]
) -> Scores:
    """Score one model on all tasks.

    Args:
        tasks: what to score it on.
        kept: scores measured before, and where new ones go.
        key: the model's content (`pipeline.kept.model_key`).
        load: gives model and tokenizer, if anything is left to measure.

    Raises:
        InputError: the model cannot be loaded, or a task is not usable.
    """
    scores = {name: kept.find(key, name) for name in tasks.names}
    missing = [name for name, found in scores.items() if found is None]
    tasks.load(missing)
    if missing:
        num_kept = len(scores) - len(missing)
        model, tokenizer = load()
        with StageProgress("eval", "tasks", len(scores), num_kept) as progress:
            for number, name in enumerate(missing, start=num_kept):
                progress.update(number, task=name)
                measured = scores[name] = tasks.score(model, tokenizer, name)
                kept.keep(key, name, measured)
                progress.update(number + 1, task=name)
    return {task: score for found in scores.values() for task, score in (found or {}).items()}


def load_model(reference: str) -> ModelAndTokenizer:
    """Load a model for evaluation: on a GPU in bfloat16, else in float32.

    Args:
        reference: a Hugging Face folder, or the name of a model on a hub.

    Raises:
        InputError: model or tokenizer cannot be loaded from there.
    """
    import torch
    from transformers import AutoModelForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    try:
        model = AutoModelForCausalLM.from_pretrained(reference, dtype=dtype)
    except (OSError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise InputError(f"model {reference!r} cannot be loaded: {first_line}") from error
    return model.to(device).eval(), load_tokenizer(reference)
