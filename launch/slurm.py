"""`ipt slurm render`: a batch script that runs stages on the nodes of a Slurm job.

    sbatch ──▶ first node: the script ──srun──▶ each node: ipt submit train CONFIG --no_ssh
                 │  USR1 before the limit: SIGTERM to rank 0's launcher, all save, exit code 75
                 └─ 75 saved, 70 hung, 1 failed: scontrol requeue;  2 bad input: never

Every node of the job belongs to it alone, as Ray is stopped on a node as a whole.
"""

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from launch.config import PipelineConfig
from launch.stages import STAGES
from pipeline import storage
from pipeline.errors import InputError

_TEMPLATE = "slurm.sh.j2"
_ON_RAY = ("synth", "pack")
_TIME = re.compile(r"(?:(?P<days>\d+)-(?=\d{1,2}(?!\d)))?(?P<rest>\d+(?::[0-5]\d){0,2})")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._,-]*")
_MAX_FAILURES = 3
_MAX_SIGNAL_S = 65_535
"""Of sbatch's `--signal`."""


@dataclass(frozen=True)
class SlurmJob:
    """What to ask Slurm for."""

    stage: str
    """A stage, or `run` for all of them."""
    nodes: int = 1
    gpus_per_node: int = 8
    cpus_per_task: int = 8
    """CPUs of a node, as there is one task on each."""
    time: str = "24:00:00"
    """Limit, as Slurm writes it."""
    partition: str = ""
    account: str = ""
    save_before_s: int = 180
    """Seconds before the limit at which the run is asked to save."""
    state: str = ""
    """Folder that all nodes share, for process ids, exit codes and Ray's token; empty: in
    `logs/slurm/` of the run."""
    bin: str = ""
    """Folder of `ipt` and `ray` on the nodes; empty: that of this process."""


def render_script(
    job: SlurmJob,
    config: PipelineConfig,
    config_path: str,
    overrides: Sequence[str],
    output: str = "",
) -> str:
    """The batch script of a job.

    Args:
        job: what to ask for.
        config: of the run, as `config_path` and `overrides` give it.
        config_path: TOML or preset, as the nodes find it.
        overrides: settings over it.
        output: the script's file, for its head.

    Raises:
        InputError: a value that Slurm, the run's folder or the nodes could not use.
    """
    state = _check(job, config)
    stages = [stage.name for stage in STAGES] if job.stage == "run" else [job.stage]
    arguments = [_found_by_nodes(config_path), *overrides]
    options = {
        "--stage": job.stage,
        "--nodes": job.nodes,
        "--gpus-per-node": job.gpus_per_node,
        "--cpus-per-task": job.cpus_per_task,
        "--time": job.time,
        "--partition": job.partition,
        "--account": job.account,
        "--save-before": job.save_before_s,
        "--state": job.state,
        "--bin": job.bin,
    }
    words = [str(word) for pair in options.items() if pair[1] != "" for word in pair]
    template = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # a shell's script: every value is quoted by shlex or checked
    ).get_template(_TEMPLATE)
    return template.render(
        written_by=_in_one_line(["ipt", "slurm", "render", *arguments, *words]),
        output=_in_one_line([output or "SCRIPT"]),
        directives=_directives(job, config),
        bin=shlex.quote(job.bin or str(Path(sys.executable).parent)),
        state=shlex.quote(state),
        max_failures=_MAX_FAILURES,
        cpus_per_task=job.cpus_per_task,
        nodes=job.nodes,
        ray_gpus=f" --num-gpus {job.gpus_per_node}" if job.gpus_per_node else "",
        save_before_s=job.save_before_s,
        uses_ray=any(name in _ON_RAY for name in stages),
        commands=[_command(name, job.nodes) for name in stages],
        config=shlex.join(arguments),
    )


def _command(stage: str, nodes: int) -> str:
    """The line of the script that runs a stage."""
    if stage == "train":
        return f'on_nodes {nodes} ipt submit train "${{config[@]}}" --no_ssh'
    return f'{"on_ray" if stage in _ON_RAY else "on_nodes 1"} ipt {stage} "${{config[@]}}"'


def _directives(job: SlurmJob, config: PipelineConfig) -> list[str]:
    name = re.sub(r"[^A-Za-z0-9._-]", "-", Path(config.run.dir).name) or "run"
    lines = [
        f"--job-name=ipt-{job.stage}-{name}",
        f"--nodes={job.nodes}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={job.cpus_per_task}",
        f"--time={job.time}",
        "--exclusive",
        f"--signal=B:USR1@{job.save_before_s}",
        "--requeue",
        "--open-mode=append",
        f"--output=ipt-{job.stage}-%j.log",
    ]
    if job.gpus_per_node:
        lines.insert(4, f"--gpus-per-node={job.gpus_per_node}")
    lines += [f"--partition={job.partition}"] if job.partition else []
    lines += [f"--account={job.account}"] if job.account else []
    return lines


def _check(job: SlurmJob, config: PipelineConfig) -> str:
    """Refuse values that cannot work; returns the folder of the job's state.

    Raises:
        InputError: names the value, the rule and what to do.
    """
    names = [*(stage.name for stage in STAGES), "run"]
    if job.stage not in names:
        raise InputError(f"--stage {job.stage!r}: there are {', '.join(names)}; choose one")
    least = (("nodes", 1), ("gpus_per_node", 0), ("cpus_per_task", 1), ("save_before_s", 1))
    for field, smallest in least:
        if (value := getattr(job, field)) < smallest:
            option = "--" + field.replace("_", "-").removesuffix("-s")
            raise InputError(f"{option} {value}: must be at least {smallest}; give another number")
    limit_s = _seconds(job.time)
    if job.save_before_s > _MAX_SIGNAL_S or limit_s < 2 * job.save_before_s:
        raise InputError(
            f"--time {job.time} is {limit_s:,} s, of which the run may work until --save-before "
            f"({job.save_before_s:,} s, at most {_MAX_SIGNAL_S:,}) is left; give at least twice as "
            f"much time, such as 24:00:00"
        )
    for field in ("partition", "account"):
        if (value := getattr(job, field)) and not _PLAIN.fullmatch(value):
            raise InputError(
                f"--{field} {value!r}: may hold letters, digits and . _ , - only; `sinfo` and "
                f"`sacctmgr show associations` list what there is"
            )
    if storage.is_local(config.run.dir) and not Path(config.run.dir).is_absolute():
        raise InputError(
            f"run.dir ({config.run.dir}) is relative, and jobs start in other folders; give an "
            f"absolute path that all nodes share"
        )
    trains = job.stage in ("train", "run")
    if trains and not storage.is_local(config.run.dir):
        raise InputError(
            f"run.dir ({config.run.dir}): training needs a file system that all nodes share; copy "
            f"the run there and set run.dir to it"
        )
    num_ranks = config.train.num_ranks
    if trains and 0 < job.gpus_per_node < num_ranks:
        raise InputError(
            f"train.num_ranks ({num_ranks}) must be at most --gpus-per-node "
            f"({job.gpus_per_node}); set train.num_ranks={job.gpus_per_node}"
        )
    return _state_folder(job, config)


def _seconds(time: str) -> int:
    """A time limit, as sbatch understands it.

    Raises:
        InputError: it is none.
    """
    found = _TIME.fullmatch(time)
    if found is None:
        raise InputError(
            f"--time {time!r}: must be minutes, hours:minutes:seconds or "
            f"days-hours:minutes:seconds; give for example 24:00:00 or 2-00:00:00"
        )
    days, *parts = (int(part or 0) for part in (found["days"], *found["rest"].split(":")))
    # After days the first number is hours; alone or before seconds it is minutes.
    if found["days"] is not None:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
    elif len(parts) == 3:
        hours, minutes, seconds = parts
    else:
        hours, (minutes, seconds) = 0, (*parts, 0)[:2]
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _state_folder(job: SlurmJob, config: PipelineConfig) -> str:
    if job.state:
        if not Path(job.state).is_absolute():
            raise InputError(
                f"--state {job.state}: is relative, and jobs start in other folders; give an "
                f"absolute path that all nodes share"
            )
        return job.state
    if not storage.is_local(config.run.dir):
        raise InputError(
            f"run.dir ({config.run.dir}) is a URI, where process ids and exit codes of a job "
            f"cannot be kept; give --state, a folder that all nodes share"
        )
    return str(Path(config.run.dir) / "logs" / "slurm")


def _found_by_nodes(config_path: str) -> str:
    """A config's path wherever a command runs; the name of a preset as it is."""
    return str(Path(config_path).absolute()) if Path(config_path).is_file() else config_path


def _in_one_line(words: Sequence[str]) -> str:
    """A command for a comment, which a line break in a value must not end."""
    return shlex.join(words).replace("\n", " ").replace("\r", " ")
