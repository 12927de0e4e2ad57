"""Does training fit: a rank into its accelerator, all ranks of a host into the host's memory?"""

from collections.abc import Iterator, Mapping

import psutil

from launch.preflight.findings import Check, Finding, ok, problem, shown_bytes, warning
from launch.preflight.memory import STAGES, RankMemory, host_bytes, rank_memory
from launch.preflight.shapes import ModelSize, size_of_trained
from launch.preflight.subject import GIB, Subject
from launch.preflight.versions import find_gpus
from train.config import TrainConfig

_LIMIT_S = 60.0
_SPARE = 0.1
"""Share of an accelerator's memory that CUDA, collectives and fragments are left."""


def memory_checks(subject: Subject, hub: str) -> Iterator[Check]:
    """The check of training's memory, if there is training to do.

    Args:
        subject: the run.
        hub: why the hub is out of reach; empty if it is not.
    """
    if "train" in subject.pending:
        yield Check("memory", lambda: _look(subject, hub), _LIMIT_S)


def _look(subject: Subject, hub: str) -> Iterator[Finding]:
    config, train = subject.config, subject.config.train
    size = size_of_trained(config, hub)
    if size is None:
        yield warning(
            "memory",
            "the size of the model is not known, as the model is not here",
            "run this where the hub answers, or copy the model here and name its folder",
        )
        return
    gpus = find_gpus()
    gpu_bytes = (
        round(subject.where.gpu_gib * GIB) or min((mib for _, mib in gpus), default=0) * 2**20
    )
    on_device = bool(gpu_bytes) or not _is_for_this_cpu(subject)
    device = "cuda" if on_device else "cpu"
    plans = {
        stage: rank_memory(
            _with(train, zero_stage=stage), size, subject.num_ranks, config.pack.seq_len, device
        )
        for stage in STAGES
    }
    mine = rank_memory(train, size, subject.num_ranks, config.pack.seq_len, device)
    table = ", ".join(
        f"{stage}: {'[' if stage == train.zero_stage else ''}{shown_bytes(plan.device)}"
        f"{']' if stage == train.zero_stage else ''}"
        for stage, plan in plans.items()
    )
    remark = f", {size.remark}" if size.remark else ""
    found = (
        f"{size.num_parameters / 1e6:,.1f}M parameters{remark}; a rank of {subject.num_ranks} "
        f"needs by ZeRO stage {table} (in brackets: as train.zero_stage is)\n{_parts(mine, size)}"
    )
    yield from _on_device(subject, size, mine, gpu_bytes, found, on_device=on_device)
    yield _on_host(subject, size, mine, on_device=on_device)


def _is_for_this_cpu(subject: Subject) -> bool:
    """Whether ranks are to compute on CPUs: fp32 without any accelerator, as the quickstart."""
    return subject.config.train.precision == "fp32" and subject.where.gpu_gib == 0


def _on_device(
    subject: Subject,
    size: ModelSize,
    mine: RankMemory,
    gpu_bytes: int,
    found: str,
    *,
    on_device: bool,
) -> Iterator[Finding]:
    if not on_device:
        yield ok("memory", f"{found}\nthere is no GPU here; the ranks compute on CPUs")
        return
    if not gpu_bytes:
        yield warning(
            "memory",
            f"{found}\nthere is no GPU here to hold this against",
            "run this on a node of the cluster, or give --gpu-gib, the memory of its GPUs",
        )
        return
    room = f"of {shown_bytes(gpu_bytes)} on a GPU"
    if mine.device <= gpu_bytes * (1 - _SPARE):
        yield ok("memory", f"{found}\n{shown_bytes(mine.device)} {room} fits")
        return
    remedy = _proposal(subject, size, gpu_bytes)
    if mine.device <= gpu_bytes:
        yield warning("memory", f"{found}\n{shown_bytes(mine.device)} {room} is tight", remedy)
    else:
        yield problem("memory", f"{found}\n{shown_bytes(mine.device)} {room} does not fit", remedy)


def _proposal(subject: Subject, size: ModelSize, gpu_bytes: int) -> str:
    """The smallest change of settings with which a rank fits."""
    config = subject.config
    for changes in _changes(config.train):
        changed = _with(config.train, **changes)
        plan = rank_memory(changed, size, subject.num_ranks, config.pack.seq_len)
        if plan.device <= gpu_bytes * (1 - _SPARE):
            settings = " ".join(f"train.{name}={_toml(value)}" for name, value in changes.items())
            return f"set {settings}, which needs {shown_bytes(plan.device)}"
    return "use more ranks or GPUs with more memory: with these, no setting of ours fits"


def _changes(train: TrainConfig) -> Iterator[Mapping[str, object]]:
    """Settings to try, those that cost the least speed first."""
    stages = [stage for stage in STAGES if stage > train.zero_stage]
    rows = [rows for rows in (train.micro_rows // 2, train.micro_rows // 4, 1) if rows]
    smaller = [rows for rows in dict.fromkeys(rows) if rows < train.micro_rows]
    yield from ({"micro_rows": rows} for rows in smaller)
    yield from ({"zero_stage": stage} for stage in stages)
    yield {"activation_checkpointing": True}
    least: dict[str, object] = {"micro_rows": 1, "activation_checkpointing": True}
    yield least
    yield from ({**least, "zero_stage": stage} for stage in stages)
    yield {**least, "zero_stage": 3, "offload": "optimizer"}
    yield {**least, "zero_stage": 3, "offload": "all"}


def _on_host(subject: Subject, size: ModelSize, mine: RankMemory, *, on_device: bool) -> Finding:
    of_host = subject.ranks_of_a_host
    needed = host_bytes(of_host, size, subject.num_ranks, mine)
    needed += 0 if on_device else of_host * mine.device
    memory = psutil.virtual_memory()
    found = (
        f"ranks of a host, {of_host}, need about {shown_bytes(needed)} of its memory (each "
        f"builds the whole model in fp32 first)"
    )
    if on_device and not find_gpus():
        return ok("host memory", f"{found}; this host, without a GPU, is not held against it")
    found += f"; {shown_bytes(memory.available)} of {shown_bytes(memory.total)} are free here"
    remedy = "use hosts with more memory, fewer ranks a host, or a smaller model"
    if needed > memory.total:
        return problem("host memory", found, remedy)
    if needed > memory.available:
        return warning("host memory", found, f"end what else runs here, or {remedy}")
    return ok("host memory", found)


def _parts(memory: RankMemory, size: ModelSize) -> str:
    parts = {
        "weights": memory.weights,
        "optimizer": memory.optimizer,
        "gradients": memory.gradients,
        "buffers": memory.buffers,
        "activations": memory.activations,
        "logits": memory.logits,
        "on the host": memory.host,
    }
    shown = ", ".join(f"{name} {shown_bytes(each)}" for name, each in parts.items() if each)
    return shown if size.shape is not None else f"{shown}, activations not known"


def _with(train: TrainConfig, **changes: object) -> TrainConfig:
    """Training with some settings changed, offloading only as far as its stage can."""
    changed = train.model_copy(update=changes)
    if changed.offload == "all" and changed.zero_stage < 3:
        changed = changed.model_copy(update={"offload": "optimizer"})
    if changed.zero_stage == 0:
        changed = changed.model_copy(update={"offload": "none"})
    return changed


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
