"""Batch arithmetic: padding rows, epochs, and settings in steps that the run never reaches."""

from collections.abc import Iterator

from launch.preflight.findings import Check, Finding, ok, warning
from launch.preflight.subject import Subject
from pipeline.loader.packed import open_rows
from pipeline.loader.share import rows_per_rank
from pipeline.mixture.planning import plan_run
from train.config import TrainConfig

_MUCH_PADDING = 0.02
"""Share of the work beyond which rows of padding are worth a word."""


def batch_checks(subject: Subject) -> Iterator[Check]:
    """The checks of training's numbers, if there is training to do."""
    if "train" not in subject.pending:
        return
    train = subject.config.train
    yield Check("batch", lambda: [batch_finding(train, subject.num_ranks)])
    yield Check("steps", lambda: step_findings(train))
    yield Check("rows", lambda: _rows(subject))


def batch_finding(train: TrainConfig, num_ranks: int) -> Finding:
    """How the rows of a batch fall on the ranks, and what else would fit.

    Args:
        train: rows of a batch and of a micro-batch.
        num_ranks: over all hosts.
    """
    rows, micro = train.rows_per_batch, train.micro_rows
    computed = rows_per_rank(rows, num_ranks, micro) * num_ranks
    padding = computed - rows
    found = (
        f"{rows} rows on {num_ranks} ranks x {micro} micro_rows x "
        f"{train.accumulation_steps(num_ranks)} micro-batches"
    )
    if not padding:
        return ok("batch", f"{found}, without a row of padding")
    found += f": {padding} rows of padding, {padding / computed:.1%} of the work in vain"
    if padding / computed < _MUCH_PADDING:
        return ok("batch", found)
    return warning("batch", found, _fitting(rows, micro, num_ranks))


def _fitting(rows: int, micro: int, num_ranks: int) -> str:
    """Settings near those given that leave no row of padding."""
    unit = micro * num_ranks
    sizes = sorted({rows // unit * unit, -(-rows // unit) * unit} - {0})
    remedies = [f"train.rows_per_batch={' or '.join(map(str, sizes))}"]
    smaller = [each for each in range(micro - 1, 0, -1) if rows % (each * num_ranks) == 0]
    if smaller:
        remedies.append(f"train.micro_rows={smaller[0]}")
    return f"set {', or '.join(remedies)}"


def step_findings(train: TrainConfig) -> Iterator[Finding]:
    """Settings that count in steps, held against the length of the run."""
    steps, warmup = train.num_steps, train.optimizer.warmup_steps
    found = []
    if warmup >= steps:
        found.append(
            warning(
                "steps",
                f"train.optimizer.warmup_steps ({warmup}) is not below train.num_steps ({steps}): "
                f"the learning rate never reaches its peak",
                f"set train.optimizer.warmup_steps to {max(1, steps // 10)} or so",
            )
        )
    if train.checkpoint_every > steps:
        found.append(
            warning(
                "steps",
                f"train.checkpoint_every ({train.checkpoint_every}) is above train.num_steps "
                f"({steps}): a run that is killed begins anew",
                f"set train.checkpoint_every to {max(1, steps // 10)} or so",
            )
        )
    if train.heldout.every > steps:
        found.append(
            warning(
                "steps",
                f"train.heldout.every ({train.heldout.every}) is above train.num_steps ({steps}): "
                f"held-out losses are measured after the last step alone",
                f"set train.heldout.every to {max(1, steps // 10)} or so",
            )
        )
    profile = train.logging.profile_steps
    if profile is not None and profile[1] > steps:
        found.append(
            warning(
                "steps",
                f"train.logging.profile_steps ({list(profile)}) ends after train.num_steps "
                f"({steps}): no trace is written",
                "name steps that the run has",
            )
        )
    yield from found
    if not found:
        checkpoints = -(-steps // train.checkpoint_every)
        yield ok("steps", f"{steps:,} steps, {warmup:,} of warm-up, {checkpoints:,} checkpoints")


def _rows(subject: Subject) -> Iterator[Finding]:
    config = subject.config
    total = config.train.num_steps * config.train.rows_per_batch
    tokens = total * config.pack.seq_len
    wanted = f"the run sees {total:,} rows of {config.pack.seq_len:,}, {tokens:,} tokens"
    if "pack" not in subject.complete:
        yield ok("rows", f"{wanted}; epochs are known once rows are packed")
        return
    plan = plan_run(config.mixture, open_rows(config.folder.rows).sizes, total, config.run.seed)
    epochs = ", ".join(
        f"{name} {number:.2f}" for name, number in zip(plan.names, plan.epochs, strict=True)
    )
    if not plan.warnings:
        yield ok("rows", f"{wanted}; epochs: {epochs}")
    for words in plan.warnings:
        remedy = "fewer train.num_steps, another mixture, or more text; `ipt mixture` shows it"
        yield warning("rows", words, remedy)
