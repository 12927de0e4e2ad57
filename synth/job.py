"""The synthesis stage: Ray Data hands document parts to engines, which commit chain parts.

    documents/sotu/part-00000042.* ──▶ SynthWorker (one engine) ──▶ augmented/sotu/part-00000042.*

What a driver does is look which parts are committed and hand out the others; no text passes
through it or the object store. Killed anywhere, the next start does the same.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from pipeline import storage
from pipeline.cluster import explained_errors, ray_session
from pipeline.errors import InputError
from pipeline.pretrained import resolve_model
from pipeline.progress import ProgressLog, StageProgress
from pipeline.run_folder import METRICS_FILE
from pipeline.stage import Manifest, StageFolder, open_stage, read_commits, read_manifest
from synth.config import SynthConfig
from synth.protocols import load_synthesizer_tokenizer, make_protocol
from synth.styles.library import load_library
from synth.worker import ProgressBoard, SynthWorker, WorkerOrder

_POLL_INTERVAL_S = 1.0


@dataclass(frozen=True)
class _Todo:
    """Parts still to write, and the documents of all parts and of committed ones."""

    parts: list[str]
    num_documents: int
    num_done: int


def run_synth(
    config: SynthConfig, documents_folder: str, folder: str, log_folder: str | None = None
) -> Manifest:
    """Write pairs about every document that ingest marked for conversion.

    Args:
        config: what to ask of which model, on which workers.
        documents_folder: folder of a complete ingest stage.
        folder: folder for the chains.
        log_folder: local folder for a link to the workers' logs.

    Raises:
        InputError: ingest is not complete, the model or its tokenizer cannot be had, or `folder`
            belongs to another config.
    """
    documents = read_manifest(documents_folder)
    stage = open_stage(
        folder, "synth", identity_fields(config), {"documents": documents.input_key()}
    )
    if done := stage.finished():
        return done
    todo = _find_todo(documents_folder, stage)
    if todo.parts:
        # Before any worker starts: a wrong model name or protocol is the user's to mend, at once.
        if config.protocol != "rules":
            make_protocol(config, load_synthesizer_tokenizer(config))
            if config.engine.kind != "fake":
                _check_context(config)
        with ray_session(log_folder), explained_errors("synth", log_folder):
            _write_parts(config, documents_folder, stage, todo)
    return stage.close(expected_parts=read_commits(documents_folder).keys())


def identity_fields(config: SynthConfig) -> dict[str, Any]:
    """The settings that decide what is written, styles by the hash of what they say.

    Raises:
        InputError: a style that is not there or is none.
    """
    fields = config.content_fields()
    if config.protocol == "chat":
        fields["styles"] = load_library(config.style_folder, config.styles).fingerprints()
        del fields["style_folder"]  # where the styles lie is not what they say
    return fields


def _check_context(config: SynthConfig) -> None:
    """Refuse a context window that the synthesizer does not have."""
    from transformers import AutoConfig

    model_config = AutoConfig.from_pretrained(
        resolve_model(config.model),
        revision=config.revision or None,
        trust_remote_code=config.trust_remote_code,
    )
    longest = getattr(model_config, "max_position_embeddings", None)
    if longest is not None and config.max_model_len > longest:
        raise InputError(
            f"synth.max_model_len ({config.max_model_len}) must be at most {longest}, the context "
            f"window of {config.model}"
        )


def _find_todo(documents_folder: str, stage: StageFolder) -> _Todo:
    committed = stage.committed()
    wanted = {
        part: commit.counts.get("convert", 0)
        for part, commit in read_commits(documents_folder).items()
    }
    unknown = sorted(committed.keys() - wanted.keys())
    if unknown:
        raise InputError(
            f"{stage.folder} holds part {unknown[0]}, which {documents_folder} does not have; "
            f"remove {stage.folder}"
        )
    return _Todo(
        parts=[part for part in wanted if part not in committed],
        num_documents=sum(wanted.values()),
        num_done=sum(wanted[part] for part in committed),
    )


def _write_parts(
    config: SynthConfig, documents_folder: str, stage: StageFolder, todo: _Todo
) -> None:
    import ray

    board = ray.remote(ProgressBoard).options(num_cpus=0).remote()
    order = WorkerOrder(
        config=config.model_dump(),
        documents_folder=documents_folder,
        stage_folder=stage.folder,
        identity=stage.identity.model_dump(),
        provenance=_provenance(config),
        board=board,
    )
    workers = config.workers
    results = (
        ray.data.from_items(
            [{"part": part} for part in todo.parts], override_num_blocks=len(todo.parts)
        )
        .map_batches(
            SynthWorker,
            fn_constructor_args=(order,),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(
                min_size=workers.min,
                max_size=workers.max,
                max_tasks_in_flight_per_actor=workers.parts_in_flight,
                max_concurrent_calls_per_actor=workers.parts_in_flight,
            ),
            num_cpus=workers.cpus,
            num_gpus=workers.gpus,
        )
        .iter_rows()
    )
    if config.protocol != "rules":
        print("synth   starting the engine (about half a minute on a CPU)", flush=True)
    _follow(results, board, todo, ProgressLog(storage.join(stage.folder, METRICS_FILE)))


def _follow(results: Iterator[Any], board: Any, todo: _Todo, log: ProgressLog) -> None:
    """Drive the job to its end while another thread shows the board."""
    finished = threading.Event()
    with StageProgress("synth", "documents", todo.num_documents, todo.num_done, log) as progress:
        watcher = threading.Thread(
            target=_show_board, args=(board, progress, todo.num_done, finished), daemon=True
        )
        watcher.start()
        try:
            for _ in results:
                pass
        finally:
            finished.set()
            watcher.join()


def _show_board(
    board: Any, progress: StageProgress, num_done: int, finished: threading.Event
) -> None:
    import ray

    is_last = False
    while not is_last:
        is_last = finished.wait(_POLL_INTERVAL_S)
        try:
            totals = ray.get(board.totals.remote(), timeout=_POLL_INTERVAL_S)
        except ray.exceptions.RayError:
            continue  # the job itself reports what went wrong
        if documents := totals.get("documents", 0):
            progress.update(
                num_done + documents,
                pairs=totals.get("pairs", 0),
                output_tokens=totals.get("output_tokens", 0),
            )


def _provenance(config: SynthConfig) -> dict[str, str]:
    if config.protocol == "rules":
        return {
            "synthesizer": "rules",
            "wire_format": "rules",
            "code_version": metadata.version("instruct-pretrain"),
        }
    return {
        "synthesizer": config.model if config.engine.kind != "fake" else "fake",
        "revision": config.revision,
        "wire_format": config.protocol,
        "sampling": (
            f"temperature={config.temperature} top_p={config.top_p} "
            f"repetition_penalty={config.repetition_penalty} "
            f"max_new_tokens={config.max_new_tokens}"
        ),
        "code_version": metadata.version("instruct-pretrain"),
    }
