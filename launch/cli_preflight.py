"""Before a run: `ipt preflight` finds what would end it; `ipt slurm render` writes a job."""

import json
import shlex
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
        int,
        typer.Option(
            "--num_nodes", "--num-nodes", min=1, help="Hosts of training, without a hostfile."
        ),
    ] = 1,
    master_addr: Annotated[
        str,
        typer.Option("--master_addr", "--master-addr", help="Host of rank 0; this one if none."),
    ] = "",
    master_port: Annotated[
        int,
        typer.Option(
            *("--master_port", "--master-port"),
            min=0,
            max=65535,
            help="Port of rank 0; 0: 29500, or any.",
        ),
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
    from launch.preflight.findings import Finding, as_report, counted, lines_of
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
        counts = [counted(report["problem"], "problem"), counted(report["warning"], "warning")]
        print(f"preflight: {', '.join(counts)}, {report['ok']:,} ok")
    if report["problem"]:
        raise typer.Exit(EXIT_BAD_INPUT)


@reports_errors
def render(
    config: Config,
    overrides: Overrides = None,
    stage: Annotated[
        str, typer.Option(help="train, synth, pack or another stage; run: all in order.")
    ] = "run",
    nodes: Annotated[int, typer.Option(help="Nodes of the job.")] = 1,
    gpus_per_node: Annotated[int, typer.Option(help="GPUs of a node; 0: none.")] = 8,
    cpus_per_task: Annotated[int, typer.Option(help="CPUs of a node.")] = 8,
    time: Annotated[str, typer.Option(help="Limit, as Slurm writes it.")] = "24:00:00",
    partition: Annotated[str, typer.Option(help="Partition; the default one if none.")] = "",
    account: Annotated[str, typer.Option(help="Account; the default one if none.")] = "",
    save_before: Annotated[
        int, typer.Option(help="Seconds before the limit at which the run saves and stops.")
    ] = 180,
    state: Annotated[
        str, typer.Option(help="Shared folder for exit codes; logs/slurm of the run if none.")
    ] = "",
    bin_folder: Annotated[
        str, typer.Option("--bin", help="Folder of ipt and ray on the nodes; as here if none.")
    ] = "",
    output: Annotated[
        str, typer.Option("--output", "-o", help="File to write; the screen if none.")
    ] = "",
    dry_run: DryRun = False,
) -> None:
    """Write a batch script that saves before the time limit and goes on after it.

    It is requeued after a stop in order (exit code 75), a hang or a failure, never after bad input.
    """
    from launch.references import invocation_of
    from launch.slurm import SlurmJob, render_script
    from pipeline.storage import write_atomic

    invocation = invocation_of(config, overrides)
    job = SlurmJob(
        stage,
        nodes,
        gpus_per_node,
        cpus_per_task,
        time,
        partition,
        account,
        save_before,
        state,
        bin_folder,
    )
    script = render_script(job, invocation.config, config, invocation.overrides, output)
    if dry_run or not output:
        print(script, end="")
        if dry_run:
            print(f"# would write {output or 'nothing'}")
        return
    write_atomic(output, script.encode())
    print(f"hand in with: {shlex.join(['sbatch', output])}")
