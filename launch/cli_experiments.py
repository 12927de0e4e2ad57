"""Commands beside a run: `ipt tune` and `ipt tune-eval` of a synthesizer, `ipt compare`."""

import shlex
from typing import Annotated

import typer

from launch.exits import reports_errors
from launch.options import DryRun, Overrides, show_config

TuneRun = Annotated[
    str, typer.Argument(metavar="CONFIG", help="TOML of the tuning, or a preset in configs/tune/.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(epilog="Example: ipt tune smollm2-135m run.dir=runs/my-synthesizer")(tune)
    app.command(name="tune-eval", epilog="Example: ipt tune-eval smollm2-135m")(tune_eval)
    app.command(epilog="Example: ipt compare cpu")(compare)


@reports_errors
def tune(config: TuneRun, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Tune an instruction synthesizer on context-based task data, and export it."""
    from launch.references import tuning_of
    from launch.stages import run_tuning, stages_of
    from pipeline.storage import exclusive

    invocation = tuning_of(config, overrides)
    folder = invocation.config.folder
    if dry_run:
        show_config(invocation)
        for stage in stages_of(invocation.config):
            print(f"would write {stage.folder_of(folder)}")
        return
    with exclusive(folder.root):
        run_tuning(invocation)
    measure = shlex.join(["ipt", "tune-eval", config, *(overrides or [])])
    print(f"synthesizer: {folder.hf}\nmeasure it: {measure}", flush=True)


@reports_errors
def tune_eval(
    config: TuneRun,
    overrides: Overrides = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Measure this synthesizer, and others by more --model; "
            "if none: the model that tuning began with, and the tuned one.",
        ),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Measure synthesizers on held-out task data: what share of their pairs is of use."""
    from launch.references import tuning_of
    from launch.tuning import evaluate_synthesizers

    evaluate_synthesizers(tuning_of(config, overrides), models or [], dry_run=dry_run)


@reports_errors
def compare(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="TOML of the comparison, or cpu, or gpu.")
    ],
    overrides: Overrides = None,
    dry_run: DryRun = False,
) -> None:
    """Pre-train with and without pairs at equal budgets, over several seeds: does it help?"""
    from launch.experiment import run_compare

    print("\n".join(run_compare(config, overrides, dry_run=dry_run)), flush=True)
