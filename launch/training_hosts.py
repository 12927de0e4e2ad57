"""Training on the hosts of a placement: all of it from host 0, and the other hosts' part."""

from dataclasses import replace

from launch.config import TrainingRunConfig
from launch.deepspeed import plan_launch, run_training
from launch.placement import HostShare, OneHost, Placement
from launch.stages import Invocation, require_local, run_stage, stage_named, stages_of
from pipeline.stage import find_manifest, read_manifest
from pipeline.storage import exclusive
from train.stopping import LONGEST_STOP_S


def train_on(invocation: Invocation[TrainingRunConfig], placement: Placement | None) -> None:
    """Run the training stage, or this host's part of it.

    Host 0 opens the stage and says how it ended; the others lend their accelerators.

    Raises:
        InputError: a host, the input or leftovers cannot be used.
        JobFailedError: a host is away, or another run works in the folder.
        TrainingStoppedError: it ended early.
    """
    if isinstance(placement, HostShare):
        placement.check([])
        if placement.node_rank > 0:
            _help_out(invocation, placement)
            return
    # Where hosts are pods or Slurm's, an earlier start of this one may not have quite ended.
    wait_s = LONGEST_STOP_S if isinstance(placement, HostShare) else 0.0
    with exclusive(invocation.config.folder.root, wait_s):
        stage = stage_named("train", stages_of(invocation.config))
        run_stage(stage, replace(invocation, placement=placement))


def show_command(invocation: Invocation[TrainingRunConfig], placement: Placement | None) -> None:
    """Print the launcher's command line without running it."""
    config = invocation.config
    where = placement or OneHost(config.train.num_ranks)
    where.check([invocation.config_path, *invocation.overrides])
    launch = plan_launch(where, config.folder.logs, invocation.config_path, invocation.overrides)
    print(f"would run {launch.typed()}")


def _help_out(invocation: Invocation[TrainingRunConfig], share: HostShare) -> None:
    require_local(invocation, "train")
    folder = invocation.config.folder
    read_manifest(folder.rows)
    if find_manifest(folder.train) is not None:
        print("train   complete already", flush=True)
        return
    run_training(share, folder, invocation.config_path, invocation.overrides)
    print(f"train   host {share.node_rank} is done; host 0 has the rest", flush=True)
