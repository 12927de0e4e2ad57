"""The synthesis stage: a pool of Ray actors, each with an engine, commits chain parts.

    documents/sotu/part-00000042.* ──▶ SynthWorker (one engine) ──▶ augmented/sotu/part-00000042.*
                                        ▲ parts      │ counts
                                      JobBoard ◀─────┘       driver: pool, progress, manifest

Ray starts the actors where there is room; the driver replaces those that die. Which of them writes
which part the board decides. No text passes through the driver or the object store, and what is
done is what is committed: killed anywhere, the next start looks at the names of the commits and
goes on.
"""

import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from importlib import metadata
from typing import Any

from pipeline import storage
from pipeline.cluster import explained_errors, ray_session
from pipeline.errors import InputError, JobFailedError
from pipeline.opening import Growth, open_stage
from pipeline.pretrained import resolve_model
from pipeline.stage import Manifest, PartCommit, StageFolder, committed_names, read_manifest
from synth import journal
from synth.actors import ActorPool
from synth.board import JobBoard, find_todo
from synth.chains import ChainedPart
from synth.config import SynthConfig
from synth.engines.protocol import EngineDiedError
from synth.following import follow
from synth.pool import await_nodes, plan_pool
from synth.protocols import load_synthesizer_tokenizer, make_protocol
from synth.styles.library import load_library
from synth.worker import WorkerOrder, write_chains


def run_synth(
    config: SynthConfig,
    documents_folder: str,
    folder: str,
    log_folder: str | None = None,
    allow_append: bool = False,
) -> Manifest:
    """Write pairs about every document that ingest marked for conversion.

    Args:
        config: what to ask of which model, on which workers.
        documents_folder: folder of a complete ingest stage.
        folder: folder for the chains.
        log_folder: local folder for a link to the workers' logs.
        allow_append: whether parts may have been added to the documents.

    Raises:
        InputError: ingest is not complete, the model or its tokenizer cannot be had, or `folder`
            belongs to another config.
        JobFailedError: a worker failed at something else.
        StoppedError: SIGTERM or Ctrl-C asked for an end.
    """
    documents = read_manifest(documents_folder)
    keys = {"documents": documents.input_key()}
    stage = open_stage(folder, "synth", identity_fields(config), keys, Growth(allow_append))
    if done := stage.finished():
        return done
    stage.adopt()
    num_parts, todo = find_todo(documents_folder, folder)
    if not documents.counts.get("convert", 0):
        _write_empty_parts(stage, todo)
    elif todo:
        # Before any worker starts: a wrong model or protocol is the user's to mend, at once.
        # Loading a tokenizer takes about as long as starting Ray.
        await_check = _in_background(lambda: check_synthesizer(config))
        with ray_session(log_folder), explained_errors("synth", log_folder):
            await_check()
            _write_parts(config, documents_folder, stage, documents, num_parts)
    storage.remove_tree(storage.join(folder, journal.FOLDER))
    return stage.close(expected_parts=committed_names(documents_folder))


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


def _in_background(work: Callable[[], None]) -> Callable[[], None]:
    """Begin some work; the result waits for it and raises what it raised.

    The thread keeps nobody: after Ctrl-C the program ends whatever the thread waits for.
    """
    outcome: Future[None] = Future()

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            outcome.set_exception(error)
        else:
            outcome.set_result(None)

    threading.Thread(target=run, daemon=True, name="check").start()
    return outcome.result


def check_synthesizer(config: SynthConfig) -> None:
    """Refuse what no worker could work with; loads the tokenizer, and no weights.

    Raises:
        InputError: tokenizer or protocol cannot be had of the model, its context window is shorter
            than `max_model_len`, or the server refuses.
        JobFailedError: the server does not answer within `engine.start_timeout_s`.
    """
    if config.protocol == "rules":
        return
    make_protocol(config, load_synthesizer_tokenizer(config))
    if config.engine.kind == "vllm":
        _check_context(config)
    if config.engine.kind == "openai":
        _check_server(config)


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


def _check_server(config: SynthConfig) -> None:
    """Wait for the server, and refuse a model that it does not serve."""
    from synth.engines.openai_engine import wait_for_server

    try:
        wait_for_server(config)
    except EngineDiedError as error:
        raise JobFailedError(str(error)) from error


def _write_empty_parts(stage: StageFolder, parts: Sequence[str]) -> None:
    """Parts without a document to convert, which ask for neither workers nor an engine."""
    for part in parts:
        files = write_chains(stage.folder, part, ChainedPart(), suffix=f"-{uuid.uuid4().hex[:8]}")
        stage.commit_once(
            PartCommit(part=part, files=files, records_in=0, records_out=0, counts={})
        )


def _write_parts(
    config: SynthConfig,
    documents_folder: str,
    stage: StageFolder,
    documents: Manifest,
    num_parts: int,
) -> None:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    board = (
        ray.remote(JobBoard)
        .options(num_cpus=0, scheduling_strategy=here, max_restarts=-1, max_task_retries=-1)
        .remote(documents_folder, stage.folder, config.workers.min)
    )
    order = WorkerOrder(
        config=config.model_dump(),
        documents_folder=documents_folder,
        stage_folder=stage.folder,
        identity=stage.identity.model_dump(),
        provenance=_provenance(config),
        board=board,
    )
    num_documents = documents.counts.get("convert", 0)
    await_nodes()
    pool = plan_pool(config, num_documents / num_parts)
    print(f"synth   {pool.describe(config)}", flush=True)
    actors = ActorPool(pool, order)
    follow(actors, board, stage.folder, num_documents, config.stop_grace_s)


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
