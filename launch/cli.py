"""The command line: `ipt STAGE CONFIG [section.key=value ...]`."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from launch import cli_cluster, cli_experiments, cli_kubernetes, cli_planning, cli_preflight
from launch.exits import reports_errors
from launch.options import (
    AllowAppend,
    Config,
    DryRun,
    Hostfile,
    Overrides,
    Run,
    settings,
    show_config,
)
from launch.placement import Placement
from pipeline.process import EXIT_FAILED, GUESSED_ACCELERATOR, has_nvidia_driver
from pipeline.redaction import printable

_QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "TOKENIZERS_PARALLELISM": "true",
    "PYTHONWARNINGS": "ignore",
}

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help=(
        "Instruction Pre-Training: raw corpora in, a pre-trained Hugging Face model out.\n\n"
        "Every stage is one command, may be killed at any moment and goes on where it stopped. "
        "CONFIG is a TOML file or the name of a preset (quickstart, ...)."
    ),
    epilog="Example: ipt run quickstart",
)


def _run_stage(
    name: str,
    config: str,
    overrides: list[str] | None,
    placement: Placement | None = None,
    *,
    dry_run: bool,
    allow_append: bool = False,
) -> None:
    from launch.references import any_run_of
    from launch.stages import run_stage, stage_named, stages_of
    from pipeline.storage import exclusive

    invocation = any_run_of(config, settings(overrides, allow_append))
    stage = stage_named(name, stages_of(invocation.config))
    if dry_run:
        show_config(invocation)
        print(f"would write {stage.folder_of(invocation.config.folder)}")
        return
    with exclusive(invocation.config.folder.root):
        run_stage(stage, replace(invocation, placement=placement))


@app.command(epilog="Example: ipt ingest my.toml ingest.docs_per_part=2048")
@reports_errors
def ingest(
    config: Config,
    overrides: Overrides = None,
    allow_append: AllowAppend = False,
    dry_run: DryRun = False,
) -> None:
    """Read corpora into content-addressed, deduplicated document parts."""
    _run_stage("ingest", config, overrides, dry_run=dry_run, allow_append=allow_append)


@app.command(epilog="Example: ipt synth my.toml synth.workers.max=8 synth.workers.gpus=1")
@reports_errors
def synth(
    config: Config,
    overrides: Overrides = None,
    allow_append: AllowAppend = False,
    dry_run: DryRun = False,
) -> None:
    """Write instruction-response pairs about documents (Ray, vLLM)."""
    _run_stage("synth", config, overrides, dry_run=dry_run, allow_append=allow_append)


@app.command(name="filter", epilog="Example: ipt filter my.toml filter.corpus_dedup.threshold=0.7")
@reports_errors
def filter_pairs(
    config: Config,
    overrides: Overrides = None,
    allow_append: AllowAppend = False,
    dry_run: DryRun = False,
) -> None:
    """Drop near duplicates across the corpus, overlap with evaluation sets, low-scored pairs."""
    _run_stage("filter", config, overrides, dry_run=dry_run, allow_append=allow_append)


@app.command(epilog="Example: ipt pack my.toml pack.seq_len=4096")
@reports_errors
def pack(
    config: Config,
    overrides: Overrides = None,
    allow_append: AllowAppend = False,
    dry_run: DryRun = False,
) -> None:
    """Tokenise and pack texts and pairs into rows (Ray Data)."""
    _run_stage("pack", config, overrides, dry_run=dry_run, allow_append=allow_append)


@app.command(epilog="Example: ipt mixture my.toml mixture.temperature=3 --output mixture.html")
@reports_errors
def mixture(
    config: Config,
    overrides: Overrides = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help="Page to write: shares over the run.")
    ] = "",
    all_sources: Annotated[bool, typer.Option("--all", help="Show every source.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Show what training will see: tokens, share and epochs per source and phase."""
    from launch.mixture import MixtureView
    from launch.references import any_run_of

    invocation = any_run_of(config, overrides)
    if dry_run:
        print(f"would read {invocation.config.folder.rows}")
        return
    view = MixtureView(invocation.config)
    print("\n".join(view.lines(all_sources=all_sources)))
    if output:
        view.write_page(output)
        print(f"page: {output}")


@app.command(epilog="Example: ipt train my.toml train.num_ranks=8 train.zero_stage=3")
@reports_errors
def train(
    config: Config,
    overrides: Overrides = None,
    hostfile: Hostfile = None,
    allow_append: AllowAppend = False,
    dry_run: DryRun = False,
) -> None:
    """Pre-train on the mixture (DeepSpeed); `deepspeed train/pretrain.py CONFIG` does the same."""
    placement = cli_cluster.placed(hostfile)
    _run_stage("train", config, overrides, placement, dry_run=dry_run, allow_append=allow_append)


@app.command(epilog="Example: ipt export my.toml export.dtype=float32")
@reports_errors
def export(
    config: Config,
    overrides: Overrides = None,
    step: Annotated[
        int | None, typer.Option(help="Export the checkpoint of this step, to --output.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="New folder; alone: newest checkpoint.")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Write the trained model, or any checkpoint, as a Hugging Face folder."""
    if step is None and output is None:
        _run_stage("export", config, overrides, dry_run=dry_run)
        return
    from launch.references import any_run_of
    from launch.stages import export_checkpoint

    export_checkpoint(any_run_of(config, overrides), step, output, dry_run=dry_run)


@app.command(name="eval", epilog="Example: ipt eval my.toml --model runs/a/hf --model runs/b/hf")
@reports_errors
def evaluate(
    config: Config,
    overrides: Overrides = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Compare this model, and others by more --model, on the tasks of eval.tasks; "
            "the run's own stages are not touched.",
        ),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Measure held-out loss per source, a sample and eval.tasks of the exported model."""
    from launch.comparison import compare_models, print_scores
    from launch.references import invocation_of

    invocation = invocation_of(config, overrides)
    if models:
        compare_models(invocation, models, dry_run=dry_run)
        return
    _run_stage("eval", config, overrides, dry_run=dry_run)
    if not dry_run:
        print_scores(invocation.config.folder)


@app.command(epilog="Example: ipt run quickstart run.dir=runs/mine")
@reports_errors
def run(
    config: Config,
    overrides: Overrides = None,
    hostfile: Hostfile = None,
    allow_append: AllowAppend = False,
    dry_run: DryRun = False,
) -> None:
    """Run all stages in order, from wherever they stand."""
    from launch.references import invocation_of
    from launch.stages import STAGES, run_all
    from launch.summary import summary_lines
    from pipeline.storage import exclusive

    invocation = invocation_of(config, settings(overrides, allow_append))
    folder, placement = invocation.config.folder, cli_cluster.placed(hostfile)
    if dry_run:
        show_config(invocation)
        for stage in STAGES:
            print(f"would write {stage.folder_of(folder)}")
        return
    with exclusive(folder.root):
        run_all(replace(invocation, placement=placement))
    print("\n".join(summary_lines(folder)), flush=True)


@app.command(epilog="Example: ipt status runs/quickstart")
@reports_errors
def status(run: Run, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Show how far each stage of a run is."""
    from launch.references import run_named
    from launch.summary import status_lines

    folder, stages = run_named(run, overrides)
    print(
        f"would read {folder.root}"
        if dry_run
        else printable("\n".join(status_lines(folder, stages)))
    )


@app.command(epilog="Example: ipt inspect runs/quickstart/filtered/sotu/part-00000000.jsonl.zst")
@reports_errors
def inspect(
    path: Annotated[str, typer.Argument(help="Shard, sidecar, manifest, stage folder or TOML.")],
    overrides: Overrides = None,
    records: Annotated[int, typer.Option("--records", "-n", help="Records to show.")] = 3,
    dry_run: DryRun = False,
) -> None:
    """Print records of any shard readably; of a TOML, the resolved config."""
    from launch.inspection import inspect_lines
    from launch.references import any_run_of

    if dry_run:
        print(f"would read {path}")
    elif path.endswith(".toml"):
        show_config(any_run_of(path, overrides))
    else:
        for line in inspect_lines(path, records):
            print(printable(line))


@app.command(epilog="Example: ipt render runs/quickstart --output texts.parquet")
@reports_errors
def render(
    run: Run,
    overrides: Overrides = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help="File to write: .jsonl or .parquet.")
    ] = "texts.jsonl",
    template_seed: Annotated[
        int | None, typer.Option(help="Seed of the layouts; that of the run's rows if none.")
    ] = None,
    with_raw: Annotated[bool, typer.Option(help="Raw documents too.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Write texts and pairs as plain text, for people and other trainers."""
    from launch.references import run_folder_of
    from launch.rendering import render_run, rendered_folder

    folder = run_folder_of(run, overrides)
    if dry_run:
        print(f"would read {rendered_folder(folder)} and write {output}")
        return
    count = render_run(folder, output, template_seed, with_raw=with_raw)
    print(f"{output}: {count:,} records")


@app.command(epilog="Example: ipt report runs/mine --baseline runs/quickstart")
@reports_errors
def report(
    run: Run,
    overrides: Overrides = None,
    baseline: Annotated[str, typer.Option(metavar="RUN", help="Another run to compare with.")] = "",
    output: Annotated[
        str, typer.Option("--output", "-o", help="File to write; report.html of the run if none.")
    ] = "",
    max_documents: Annotated[
        int, typer.Option(help="Most documents to read of each run for corpus metrics.")
    ] = 20_000,
    dry_run: DryRun = False,
) -> None:
    """Write one HTML page about a run: what was dropped, pairs, diversity, losses, examples."""
    from launch.references import run_folder_of
    from launch.report.page import write_report

    folder = run_folder_of(run, overrides)
    other = run_folder_of(baseline, None) if baseline else None
    target = output or folder.page
    if dry_run:
        against = f" and {other.root}" if other else ""
        print(f"would read {folder.root}{against} and write {target}")
        return
    write_report(folder, target, other, max_documents)
    print(f"report: {target}")


@app.command(epilog="Example: ipt audit runs/quickstart")
@reports_errors
def audit(run: Run, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Prove that no document was lost or used twice; exit code 0 only then."""
    from launch.audit import audit_run
    from launch.references import run_folder_of

    folder = run_folder_of(run, overrides)
    if dry_run:
        print(f"would read {folder.root}")
        return
    result = audit_run(folder)
    print(printable("\n".join([*result.lines, *(f"problem: {each}" for each in result.problems)])))
    print(f"audit: documents={result.documents} lost={result.lost} duplicated={result.duplicated}")
    if not result.is_clean:
        raise typer.Exit(EXIT_FAILED)


cli_cluster.register(app)
cli_experiments.register(app)
cli_kubernetes.register(app)
cli_planning.register(app)
cli_preflight.register(app)


def main() -> None:
    """Entry point of `ipt`."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if "DS_ACCELERATOR" not in os.environ and not has_nvidia_driver():
        os.environ |= {"DS_ACCELERATOR": "cpu", GUESSED_ACCELERATOR: "1"}
    if os.environ.pop("IPT_EXIT_WITH_PARENT", ""):
        from pipeline.process import die_with_parent

        die_with_parent()
    app()
