"""The packing stage: documents and chains become fixed-length rows, per row source, part by part.

    documents/sotu/part-00000007  (raw)     ──▶ rows/sotu-raw/{train,heldout}/*
    filtered/sotu/part-00000007   (chains)  ──▶ rows/sotu-augmented/{train,heldout}/*

One input part gives one output part, so the rows do not depend on the number of workers.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator

from pipeline.cluster import explained_errors, ray_session
from pipeline.errors import InputError
from pipeline.loader.packed import write_tables
from pipeline.opening import Growth, open_stage
from pipeline.packing.config import PackConfig
from pipeline.packing.worker import (
    AUGMENTED,
    RAW,
    TASKS,
    PackInputs,
    PackOrder,
    PackWorker,
    Renderer,
    loss_on_of,
)
from pipeline.progress import StageProgress
from pipeline.stage import Manifest, StageFolder, read_commits, read_manifest


def run_pack(
    config: PackConfig,
    inputs: PackInputs,
    folder: str,
    render: Renderer,
    log_folder: str | None = None,
    allow_append: bool = False,
) -> Manifest:
    """Tokenise and pack everything that the stages before left.

    Args:
        config: row length, tokenizer, held-out share.
        inputs: folders of the complete ingest and filter stages, or of task data.
        folder: folder for the rows.
        render: writes chains and documents as text.
        log_folder: local folder for a link to the workers' logs.
        allow_append: whether parts may have been added to the inputs.

    Raises:
        InputError: an input stage is not complete, or `folder` belongs to another config.
    """
    keys = _input_keys(inputs) | {"templates": render.fingerprint()}
    # A mapping's order counts here, and its fields do not show it.
    settings = config.model_dump() | {"loss_on_order": list(config.loss_on)}
    stage = open_stage(folder, "pack", settings, keys, Growth(allow_append))
    if done := stage.finished():
        return done
    stage.adopt()
    wanted = list(_list_parts(inputs))
    committed = stage.committed()
    todo = [part for part in wanted if part not in committed]
    if todo:
        # One that cannot be used is said here, not by a worker.
        inputs.make_tokeniser(config.tokenizer)
        order = PackOrder(config, inputs, folder, stage.identity, render)
        with ray_session(log_folder), explained_errors("pack", log_folder):
            _pack_parts(order, todo, len(wanted))
    require_trained_tokens(stage, config)
    _write_tables(stage, config, inputs)
    return stage.close(expected_parts=wanted)


def require_trained_tokens(stage: StageFolder, config: PackConfig) -> None:
    """Refuse `loss_on` for a source that has no pairs: nothing of it would be trained on.

    Raises:
        InputError: names the source and the remedy.
    """
    trained: Counter[str] = Counter()
    commits = stage.committed()
    if commits and not any(commit.records_out for commit in commits.values()):
        raise InputError(
            f"every example is longer than a row: raise pack.seq_len ({config.seq_len}), and "
            f"remove {stage.folder}"
        )
    for part, commit in commits.items():
        if commit.records_out:  # else all its examples are longer than a row, and counted
            trained[part.rpartition("/")[0]] += commit.counts.get("trained_tokens", 0)
    for source in sorted(trained):
        if loss_on_of(config, source) is not None and not trained[source]:
            raise InputError(
                f"pack.loss_on: nothing of {source} would be trained on, its texts have no pairs; "
                f"name only sources that do, and remove {stage.folder}"
            )


def _input_keys(inputs: PackInputs) -> dict[str, str]:
    """What says whether the inputs are the same as at the last start."""
    if inputs.tasks:
        return {"tasks": read_manifest(inputs.tasks).input_key()}
    documents, augmented = read_manifest(inputs.documents), read_manifest(inputs.augmented)
    augmented.require_input("documents", documents)
    return {"documents": documents.input_key(), "augmented": augmented.input_key()}


def _write_tables(stage: StageFolder, config: PackConfig, inputs: PackInputs) -> None:
    commits = stage.committed().values()
    if not commits:  # nothing to pack: no need for the tokenizer either
        write_tables(stage.folder, stage.identity, [], (config.seq_len, 2, 1))
        return
    token_bytes = inputs.make_tokeniser(config.tokenizer).dtype.itemsize
    write_tables(
        stage.folder,
        stage.identity,
        (entry for commit in commits for entry in commit.files),
        (config.seq_len, token_bytes, config.frame_rows(token_bytes)),
    )


def _list_parts(inputs: PackInputs) -> Iterator[str]:
    """Names of the parts to write: `SOURCE-raw/part-N`, `SOURCE-augmented/part-N`, ..."""
    if inputs.tasks:
        yield from _parts_of(inputs.tasks, TASKS)
        return
    for part, commit in read_commits(inputs.documents).items():
        source, _, basename = part.partition("/")
        if commit.counts.get("raw"):
            yield f"{source}-{RAW}/{basename}"
    yield from _parts_of(inputs.augmented, AUGMENTED)


def _parts_of(folder: str, route: str) -> Iterator[str]:
    for part, commit in read_commits(folder).items():
        source, _, basename = part.partition("/")
        if commit.records_out:
            yield f"{source}-{route}/{basename}"


def _pack_parts(order: PackOrder, todo: list[str], num_parts: int) -> None:
    import ray

    _quiet_ray_data()
    num_workers = min(len(todo), max(1, int(ray.cluster_resources().get("CPU", 1))))
    results = (
        ray.data.from_items([{"part": part} for part in todo], override_num_blocks=len(todo))
        .map_batches(
            PackWorker,
            fn_constructor_args=(order,),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=num_workers),
            num_cpus=1,
        )
        .iter_rows()
    )
    num_done, num_tokens = num_parts - len(todo), 0
    with StageProgress("pack", "parts", num_parts, num_done) as progress:
        for row in results:
            num_done, num_tokens = num_done + 1, num_tokens + int(row["tokens"])
            progress.update(num_done, tokens=num_tokens)


def _quiet_ray_data() -> None:
    """Leave progress and errors to our own lines."""
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")  # read once, by the import
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its errors come as exceptions
