"""Before a run: `ipt preflight` finds what would end it, `ipt slurm render` writes a batch script."""

import json
from typing import Annotated

import typer

from launch.exits import reports_errors
from launch.options import Config, DryRun, Overrides
from pipeline.errors import InputError
from pipeline.process import EXIT_BAD_INPUT

_WIDTH = 16
"""Characters of the column of checks."""
_slurm = typer.Typer(no_args_is_help=True, help="Batch scripts for Slurm.")


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(epilog="Example: ipt preflight my.toml --hostfile hosts --gpu-gib 80")(preflight)
    _slurm.command(
        epilog="Example: ipt slurm render my.toml --stage train --nodes 4 -o train.sbatch"
    )(render)
    app.add_typer(_slurm, name="slurm")


@reports_errors
def preflight(
    config: Config,
    overrides: Overrides = None,
    hostfile: Annotated[
        str, typer.Option(help="Hosts of training, a line `HOST slots=N` each; asked over ssh.")
    ] = "",
    num_nodes: Annotated[
        int, typer.Option("--num_nodes", min=1, help="Hosts of training, without a hostfile.")
    ] = 1,
    master_addr: Annotated[
        str, typer.Option("--master_addr", help="Host of rank 0; this one if none.")
    ] = "",
    master_port: Annotated[
        int,
        typer.Option("--master_port", min=0, max=65535, help="Port of rank 0; 0: 29500, or any."),
    ] = 0,
    address: Annotated[
        str, typer.Option(help="A cluster's job server, such as http://head:8265.")
    ] = "",
    gpu_gib: Annotated[
        float, typer.Option(min=0.0, help="Memory of a GPU in GiB; 0: of those here.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Find in seconds what would end a run after an hour, and say what to do about it.

    Exit code 0: nothing keeps the run from working; 2: something does. Starts no engine and no
    cluster, and leaves nothing behind.
    """
    from launch.preflight.checking import look_at
    from launch.preflight.findings import Finding, as_report, lines_of
    from launch.preflight.subject import Subject, Where
    from launch.references import any_run_of

    if hostfile and num_nodes != 1:
        raise InputError(
            f"--hostfile {hostfile} and --num_nodes {num_nodes} both say how many hosts there "
            f"are; give one of them"
        )
    where = Where(hostfile, num_nodes, master_addr, master_port, address, gpu_gib)
    subject = Subject(any_run_of(config, overrides), where)
    _ = where.hosts  # a hostfile that cannot be read is bad input like the rest
    if dry_run:
        print(f"would look at what {', '.join(subject.pending) or 'no stage'} of {config} needs")
        return
    findings: list[Finding] = []
    for finding in look_at(subject):
        findings.append(finding)
        if not as_json:
            print("\n".join(lines_of(finding, _WIDTH)), flush=True)
    report = as_report(findings)
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        print(
            f"preflight: {report['problem']} problems, {report['warning']} warnings, "
            f"{report['ok']} ok"
        )
    if report["problem"]:
        raise typer.Exit(EXIT_BAD_INPUT)


@reports_errors
def render(config: Config) -> None:
    """x."""
