"""Models and tokenizers that the stages to come load: are they there, whole, and do they fit?"""

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from launch.config import PipelineConfig
from launch.preflight.findings import Check, Finding, ok, problem, shown_bytes, warning
from launch.preflight.hub import cached_folder, refusal_of
from launch.preflight.subject import Subject
from launch.stages import Invocation, require_tasks
from pipeline.pretrained import find_resolved
from synth.config import SynthConfig

_INDEX = "model.safetensors.index.json"
_OTHER_WEIGHTS = ("*.bin", "*.pt", "*.gguf")
_SERVER_WAIT_S = 0.1
_LOADING_LIMIT_S = 60.0


@dataclass(frozen=True)
class Located:
    """Where a model is."""

    folder: Path | None
    """On this machine; None: not here, or not yet in a form that can be loaded."""
    says: str
    """What there is, in words."""
    problem: str = ""
    """Why it cannot be had; empty if it can."""
    remedy: str = ""


def model_checks(subject: Subject, hub: str) -> Iterator[Check]:
    """A check for each model, tokenizer and package that a stage still to be done needs.

    Args:
        subject: the run.
        hub: why the hub is out of reach; empty if it is not.
    """
    config = subject.config
    if (synth := subject.synth) is not None:
        look = partial(_synthesizer, synth, hub)
        yield Check("synthesizer", look, _LOADING_LIMIT_S)
        if (scorer := synth.checks.scorer) is not None:
            yield Check("scorer", partial(_model, "scorer", scorer.model, scorer.revision, hub))
    if (filters := subject.filter) is not None and filters.checks and filters.checks.scorer:
        scorer = filters.checks.scorer
        look_at = partial(_model, "filter.scorer", scorer.model, scorer.revision, hub)
        yield Check("filter.scorer", look_at)
    if {"pack", "train"} & set(subject.pending):
        look_at = partial(_tokenizer, config.pack.tokenizer, hub)
        yield Check("tokenizer", look_at, _LOADING_LIMIT_S)
    if "train" in subject.pending:
        yield Check("model", partial(_trained_model, subject, hub), _LOADING_LIMIT_S)
    if isinstance(config, PipelineConfig) and config.eval.tasks and "eval" in subject.pending:
        yield Check("tasks", lambda: _tasks(config, subject), _LOADING_LIMIT_S)
    yield Check("packages", lambda: _packages(subject))


def locate(reference: str, revision: str, hub: str) -> Located:
    """Find a model, without downloading, converting or loading it.

    Args:
        reference: as for `pipeline.pretrained.resolve_model`.
        revision: of a hub model.
        hub: why the hub is out of reach; empty if it is not.

    Raises:
        InputError: the reference looks like a path, and nothing is there.
    """
    resolved = find_resolved(reference)
    if resolved is None:
        return Located(None, f"{reference} is here; its first use converts it")
    if Path(resolved).is_dir():
        return Located(Path(resolved), f"{reference} is here")
    if (cached := cached_folder(resolved, revision)) is not None:
        return Located(cached, f"{reference} is in the hub's cache here")
    if hub:
        return Located(
            None,
            "",
            f"{reference} is not in the hub's cache here, and {hub}",
            "run this where the hub answers, or copy the model here and name its folder",
        )
    if refused := refusal_of(resolved, revision):
        return Located(
            None,
            "",
            f"{reference}: {refused}",
            "correct the name, ask its owners for access, or log in with `hf auth login`",
        )
    return Located(None, f"{reference} is on the hub; its first use downloads it")


def weights_problem(folder: Path) -> str:
    """What is missing or cut off of a model's files; empty if they are whole.

    Only the heads of the files are read, and held against their sizes.
    """
    if not (folder / "config.json").is_file():
        return f"{folder} has no config.json"
    try:
        json.loads((folder / "config.json").read_text("utf-8"))
        index = folder / _INDEX
        named = json.loads(index.read_text("utf-8"))["weight_map"] if index.is_file() else {}
    except (ValueError, KeyError) as error:
        return f"{folder}: config.json or {_INDEX} is damaged ({error})"
    names = sorted(set(named.values())) or [path.name for path in folder.glob("model*.safetensors")]
    if not names:
        has_others = any(any(folder.glob(pattern)) for pattern in _OTHER_WEIGHTS)
        return "" if has_others else f"{folder} has no file of weights"
    for name in names:
        if reason := _damage(folder / name):
            return f"{folder / name} {reason}"
    return ""


def _damage(path: Path) -> str:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return "is missing"
    try:
        with safe_open(path, framework="numpy"):
            return ""
    except (SafetensorError, OSError) as error:
        return f"is cut off or damaged ({error})"


def bytes_of_weights(folder: Path) -> int:
    """Bytes of a model's safetensors files; 0 if it has none."""
    return sum(path.stat().st_size for path in folder.glob("model*.safetensors"))


def _model(check: str, reference: str, revision: str, hub: str) -> Iterator[Finding]:
    yield _finding(check, locate(reference, revision, hub))


def _finding(check: str, located: Located) -> Finding:
    if located.problem:
        return problem(check, located.problem, located.remedy)
    if located.folder is None:
        return ok(check, located.says)
    if damage := weights_problem(located.folder):
        remedy = "copy or download the model again, or name another one"
        return problem(check, damage, remedy)
    return ok(check, f"{located.says}, {shown_bytes(bytes_of_weights(located.folder))} of weights")


def _synthesizer(config: SynthConfig, hub: str) -> Iterator[Finding]:
    from synth.job import check_synthesizer

    if config.protocol == "rules":
        yield ok("synthesizer", "protocol 'rules' needs no model")
        return
    if config.engine.kind == "vllm":
        located = locate(config.model, config.revision, hub)
        yield (found := _finding("synthesizer", located))
        if found.state == "problem" or located.folder is None:
            return
    engine = config.engine.model_copy(update={"start_timeout_s": _SERVER_WAIT_S})
    check_synthesizer(config.model_copy(update={"engine": engine}))
    prompt, total = config.max_model_len - config.max_new_tokens, config.max_model_len
    fits = f"{prompt:,} of {total:,} tokens for the prompt"
    yield ok("synthesizer", f"protocol {config.protocol!r} works with its tokenizer; {fits}")


def _tokenizer(reference: str, hub: str) -> Iterator[Finding]:
    from pipeline.pretrained import load_tokenizer

    located = locate(reference, "", hub)
    if located.problem:
        yield problem("tokenizer", located.problem, located.remedy)
    elif located.folder is None:
        yield ok("tokenizer", located.says)
    else:
        yield ok("tokenizer", f"{reference}: {len(load_tokenizer(reference)):,} words")


def _trained_model(subject: Subject, hub: str) -> Iterator[Finding]:
    from train.model import load_shape

    config = subject.config
    model = config.train.model
    if model.init_from:
        located = locate(model.init_from, "", hub)
        yield (found := _finding("model", located))
        if found.state == "problem" or located.folder is None:
            return
    if locate(config.pack.tokenizer, "", hub).folder is None:
        yield ok("model", "its shape is held against the tokenizer once that one is here")
        return
    shape = load_shape(model, config.pack.tokenizer)
    yield ok("model", f"{shape.model_type}: its {shape.vocab_size:,} words hold the tokenizer's")
    longest, seq_len = getattr(shape, "max_position_embeddings", None), config.pack.seq_len
    if longest is not None and seq_len > longest:
        yield warning(
            "model",
            f"pack.seq_len ({seq_len}) is more than the {longest} positions that the model has",
            f"set pack.seq_len to {longest} or less, or "
            f"train.model.shape.max_position_embeddings={seq_len}",
        )


def _tasks(config: PipelineConfig, subject: Subject) -> Iterator[Finding]:
    invocation = subject.invocation
    require_tasks(Invocation(config, invocation.config_path, invocation.overrides))
    yield ok("tasks", f"lm-evaluation-harness knows {', '.join(config.eval.tasks)}")


def _packages(subject: Subject) -> Iterator[Finding]:
    """Packages that a setting asks for, beside those that come with ours."""
    config, pending = subject.config, subject.pending
    needed = {}
    synth = subject.synth
    if synth is not None and synth.protocol != "rules" and synth.engine.kind == "vllm":
        needed["vllm"] = "pip install 'instruct-pretrain[gpu]', or [cpu]"
    if config.run.dir.startswith("s3://"):
        needed["s3fs"] = "pip install 'instruct-pretrain[s3]'"
    if "train" in pending and config.train.logging.tensorboard:
        needed["tensorboard"] = "pip install tensorboard, or leave out train.logging.tensorboard"
    if "train" in pending and config.train.logging.wandb_project:
        needed["wandb"] = "pip install wandb, or leave out train.logging.wandb_project"
    missing = {name: how for name, how in needed.items() if not importlib.util.find_spec(name)}
    for name, how in missing.items():
        yield problem("packages", f"{name} is not installed in this environment", how)
    if not missing:
        yield ok("packages", f"all here: {', '.join(needed) or 'none beside our own is needed'}")
