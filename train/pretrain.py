"""Multitask pre-training: `deepspeed train/pretrain.py CONFIG [section.key=value ...]`.

Exit codes: 0 done; 1 failed; 2 bad input; 70 a rank hung; 75 stopped by SIGTERM or SIGUSR1 after
saving (start it again to go on).
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    # As a script, this folder would come first on the path and hide libraries of the same names.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import argparse
import os
import traceback

import torch

from pipeline import storage
from pipeline.errors import BusyError, InputError
from pipeline.process import EXIT_BAD_INPUT, EXIT_FAILED, die_with_parent, has_nvidia_driver
from pipeline.stage import FileEntry, Manifest, PartCommit, StageFolder, read_manifest
from train.identity import open_train_stage
from train.process_group import join_ranks
from train.sections import Sections, load_sections
from train.stopping import LONGEST_STOP_S, Preparation
from train.trainer import Trainer


def open_stage_of(sections: Sections, rows: Manifest) -> StageFolder:
    """Open the training folder; on the other ranks after rank 0 has.

    Raises:
        StaleStageError: it holds a run of another config or of other rows.
    """
    return open_train_stage(sections.train, sections.mixture, sections.run, rows)


def run(sections: Sections) -> int:
    """Train on this rank, from rows to the last checkpoint and the stage's manifest.

    Returns:
        The process's exit code.

    Raises:
        InputError: the rows, the config or leftovers of another run cannot be used.
        BusyError: another run trains in the folder.
    """
    die_with_parent()
    preparation = Preparation()
    rows = read_manifest(sections.folder.rows)
    if join_ranks() > 0:
        torch.distributed.barrier()  # rank 0 opens the folder first
        return _run_rank(sections, rows, open_stage_of(sections, rows), preparation)
    with storage.exclusive(sections.folder.train, wait_s=LONGEST_STOP_S):
        stage = open_stage_of(sections, rows)
        torch.distributed.barrier()
        code = _run_rank(sections, rows, stage, preparation)
        if code == 0:
            _close(stage, sections)
        return code


def _run_rank(
    sections: Sections, rows: Manifest, stage: StageFolder, preparation: Preparation
) -> int:
    trainer = Trainer(sections, rows, stage)
    code = trainer.train(preparation.end())
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    return code


def _close(stage: StageFolder, sections: Sections) -> None:
    num_rows = sections.train.num_steps * sections.train.rows_per_batch
    metrics = storage.read_bytes(sections.folder.metrics)
    entry = FileEntry.of("metrics.jsonl", sections.train.num_steps, metrics)
    stage.commit(
        PartCommit(
            part="part-00000000",
            files=[entry],
            records_in=num_rows,
            records_out=num_rows,
            counts={"steps": sections.train.num_steps, "rows": num_rows},
        )
    )
    stage.close()


def main(arguments: list[str]) -> int:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("config", help="TOML of the run")
    parser.add_argument("overrides", nargs="*", help="section.key=value")
    parser.add_argument("--local_rank", type=int, default=0, help="set by the launcher")
    parsed = parser.parse_args(arguments)
    if not has_nvidia_driver():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")):
        os.environ.setdefault(name, default)
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29500")
    try:
        return run(load_sections(parsed.config, parsed.overrides))
    except (InputError, BusyError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return EXIT_BAD_INPUT if isinstance(error, InputError) else EXIT_FAILED
    except Exception as error:  # noqa: BLE001 - said in one line, too, which `ipt` shows
        traceback.print_exc()
        words = str(error).strip().splitlines() or [""]
        where = f"rank {os.environ['RANK']}"
        print(f"error: {where}: {type(error).__name__}: {words[0]}", file=sys.stderr, flush=True)
        return EXIT_FAILED


def leave(code: int) -> None:
    """End this process now, without taking the interpreter down step by step.

    All files are closed. The threads of libraries would still want it, and one that asks for it
    while it goes down brings the process to an end with SIGABRT, after a run that was good.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
