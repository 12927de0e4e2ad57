"""`ipt submit`: a stage as a job of a Ray cluster, training on one host or several."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from launch.exits import reports_errors
from launch.options import AllowAppend, Config, DryRun, Hostfile, Overrides, settings, show_config
from launch.over_ssh import OverSsh
from launch.placement import DEFAULT_PORT, HostShare
from pipeline.errors import InputError
from pipeline.redaction import printable

_ON_RAY = {
    "ingest": "Read corpora",
    "synth": "Write pairs",
    "filter": "Filter pairs",
    "pack": "Pack rows",
    "export": "Export the model",
    "eval": "Evaluate the model",
    "run": "Run all stages",
}
Address = Annotated[
    str, typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="The cluster's job server.")
]
_LOCAL_SERVER = "http://127.0.0.1:8265"
Job = Annotated[str, typer.Argument(metavar="JOB", help="As submitting printed it.")]

submit = typer.Typer(
    no_args_is_help=True,
    help="Run a stage as a job of a Ray cluster, or training on one host or several.",
)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for stage, words in _ON_RAY.items():
        command = submit.command(
            name=stage, epilog=f"Example: ipt submit {stage} my.toml --address http://head:8265"
        )
        command(_submit_to_ray(stage, words))
    submit.command(
        epilog="Examples: ipt submit train my.toml --hostfile hosts.txt; on each of 4 hosts: ipt "
        "submit train my.toml --no_ssh --num_nodes 4 --node_rank 0 --master_addr host-0"
    )(train)
    submit.command(epilog="Example: ipt submit status --address http://head:8265")(status)
    submit.command(epilog="Example: ipt submit stop raysubmit_x7Y --address http://head:8265")(stop)
    app.add_typer(submit, name="submit", epilog="Example: ipt submit synth my.toml")


def _submit_to_ray(stage: str, words: str) -> Callable[..., None]:
    @reports_errors
    def command(
        config: Config,
        overrides: Overrides = None,
        address: Address = _LOCAL_SERVER,
        working_dir: Annotated[
            str,
            typer.Option(
                help="Folder that the cluster gets a copy of; the config lies in it. Empty: none, "
                "CONFIG is the name of a preset, or an absolute path, the same here and there."
            ),
        ] = ".",
        image: Annotated[
            str, typer.Option(help="Container image to run in, in place of a working directory.")
        ] = "",
        runtime_env: Annotated[
            str, typer.Option(metavar="FILE", help="More of Ray's runtime environment, as YAML.")
        ] = "",
        env: Annotated[
            list[str] | None,
            typer.Option(
                metavar="NAME[=VALUE]", help="Variable for the job; Ray logs it, so no secret."
            ),
        ] = None,
        no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not follow the job.")] = False,
        allow_append: AllowAppend = False,
        dry_run: DryRun = False,
    ) -> None:
        from launch.ray_jobs import submit as submit_job
        from launch.references import any_run_of
        from launch.submission import Submission

        # A mistake in it is said here, not by the cluster.
        parsed = any_run_of(config, settings(overrides, allow_append)).config
        parsed.require_folder_for_jobs()
        submission = Submission(
            stage=stage,
            config=config,
            overrides=settings(overrides, allow_append),
            run_folder=parsed.run.dir,
            stop_grace_s=parsed.synth.stop_grace_s if parsed.synth else 0.0,
            working_dir=working_dir,
            image=image,
            runtime_env=runtime_env,
            environment=env or [],
        )
        if dry_run:
            submission.full_runtime_env()
            print(printable(f"would submit to {address}: {submission.entrypoint()}"))
        elif code := submit_job(submission, address, wait=not no_wait):
            raise typer.Exit(code)

    command.__doc__ = f"{words} in a job of a Ray cluster; follow its log, pass on its exit code."
    return command


@reports_errors
def status(
    job: Annotated[
        str, typer.Argument(metavar="[JOB]", help="As submitting printed it; none: all.")
    ] = "",
    address: Address = _LOCAL_SERVER,
) -> None:
    """Show jobs of a Ray cluster, or one of them with the end of its log."""
    from launch.ray_jobs import status_lines

    print("\n".join(status_lines(address, job)))


@reports_errors
def stop(job: Job, address: Address = _LOCAL_SERVER) -> None:
    """Have a job of a Ray cluster end in order; submit it again to go on."""
    from launch.ray_jobs import stop as stop_job

    print(stop_job(address, job))


@reports_errors
def train(
    config: Config,
    overrides: Overrides = None,
    hostfile: Hostfile = None,
    no_ssh: Annotated[
        bool,
        typer.Option(
            "--no_ssh", "--no-ssh", help="Start this host's ranks; the same on each host."
        ),
    ] = False,
    num_nodes: Annotated[
        int | None,
        typer.Option(
            "--num_nodes",
            "--num-nodes",
            help="Hosts, with --no_ssh; else of PET_NNODES, SLURM_NNODES.",
        ),
    ] = None,
    node_rank: Annotated[
        int | None,
        typer.Option(
            "--node_rank",
            "--node-rank",
            help="Number of this host from 0, with --no_ssh; else of PET_NODE_RANK, SLURM_NODEID, "
            "JOB_COMPLETION_INDEX.",
        ),
    ] = None,
    master_addr: Annotated[
        str,
        typer.Option(
            "--master_addr",
            "--master-addr",
            help="Host 0, as the others reach it; with --no_ssh else PET_MASTER_ADDR, MASTER_ADDR.",
        ),
    ] = "",
    master_port: Annotated[
        int | None,
        typer.Option(
            "--master_port",
            "--master-port",
            min=1,
            max=65535,
            help="Port that ranks of several hosts meet at; with --no_ssh else PET_MASTER_PORT, "
            f"MASTER_PORT; else {DEFAULT_PORT}.",
        ),
    ] = None,
    allow_append: AllowAppend = False,
    dry_run: DryRun = False,
) -> None:
    """Pre-train on this host, on those of a hostfile over ssh, or start this host's part."""
    from launch.references import any_run_of
    from launch.training_hosts import show_command, train_on

    invocation = any_run_of(config, settings(overrides, allow_append))
    num_ranks = invocation.config.train.num_ranks
    placement: HostShare | OverSsh | None = None
    if hostfile is not None and no_ssh:
        raise InputError("--hostfile and --no_ssh: give one; --no_ssh starts this host's part only")
    if not no_ssh:
        given: dict[str, object] = {"num_nodes": num_nodes, "node_rank": node_rank}
        if hostfile is None:
            given |= {"master_addr": master_addr or None, "master_port": master_port}
        _refuse_ignored(given)
    if hostfile is not None:
        placement = OverSsh(hostfile, master_addr, master_port or DEFAULT_PORT)
        _ = placement.hosts
    elif no_ssh:
        placement = _share(num_ranks, num_nodes, node_rank, master_addr, master_port)
    if dry_run:
        show_config(invocation)
        show_command(invocation, placement)
    else:
        train_on(invocation, placement)


def _refuse_ignored(options: Mapping[str, object]) -> None:
    """Refuse options of several hosts that would do nothing.

    Raises:
        InputError: names the first one.
    """
    for name, value in options.items():
        if value is not None:
            others = "--no_ssh" if name.startswith("n") else "--no_ssh or --hostfile"
            raise InputError(
                f"--{name} ({value}) means nothing without {others}; add that, or leave this out"
            )


def _share(
    num_ranks: int,
    num_nodes: int | None,
    node_rank: int | None,
    master_addr: str,
    master_port: int | None,
) -> HostShare:
    """This host's part, by options and, where they are not given, by the launcher's variables.

    Raises:
        InputError: a number is missing, or a variable is none.
    """

    def number(name: str, given: int | None, *variables: str) -> int | None:
        found = next((each for each in variables if os.environ.get(each)), "")
        if given is not None or not found:
            return given
        try:
            return int(os.environ[found])
        except ValueError:
            raise InputError(f"{found} ({os.environ[found]}) is no number; give --{name}") from None

    nodes = number("num_nodes", num_nodes, "PET_NNODES", "SLURM_NNODES")
    rank = number("node_rank", node_rank, "PET_NODE_RANK", "SLURM_NODEID", "JOB_COMPLETION_INDEX")
    port = number("master_port", master_port, "PET_MASTER_PORT", "MASTER_PORT")
    if nodes is None or rank is None:
        raise InputError(
            "--no_ssh needs --num_nodes and --node_rank, where neither Slurm, an indexed job "
            "nor Kubeflow's trainer sets them"
        )
    address = master_addr or os.environ.get("PET_MASTER_ADDR") or os.environ.get("MASTER_ADDR", "")
    return HostShare(num_ranks, nodes, rank, address, port or DEFAULT_PORT)


def placed(hostfile: Path | None) -> OverSsh | None:
    """Where `ipt train` and `ipt run` have their ranks, by their `--hostfile`.

    Raises:
        InputError: it cannot be read.
    """
    if hostfile is None:
        return None
    placement = OverSsh(hostfile)
    _ = placement.hosts
    return placement
