"""`ipt plan`: what a run will take, before it is started."""

from typing import Annotated

import typer

from launch.exits import reports_errors
from launch.options import Config, DryRun, Overrides

_BUDGETS = ["1B", "10B", "100B", "1T"]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog="Example: ipt plan scratch-1.3b --nodes 4 --gpu h100 --price 2.50")(plan)


@reports_errors
def plan(
    config: Config,
    overrides: Overrides = None,
    nodes: Annotated[int, typer.Option(help="Nodes of the cluster.")] = 1,
    gpus_per_node: Annotated[int, typer.Option(help="GPUs of each.")] = 8,
    gpu: Annotated[
        str, typer.Option(help="Kind of GPU: a100, h100, h200; cpu: as the run of --rates.")
    ] = "h100",
    tokens: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N", help="Tokens to train on, such as 100B; more by more --tokens; 1B to 1T."
        ),
    ] = None,
    price: Annotated[float, typer.Option(help="Of a GPU-hour, in any currency.")] = 0.0,
    rates: Annotated[
        str, typer.Option(metavar="RUN", help="Rates of a finished run, or: shipped.")
    ] = "shipped",
    preemptions_per_day: Annotated[
        float, typer.Option(help="Times a day that each node is reclaimed.")
    ] = 0.0,
    document_tokens: Annotated[
        float | None, typer.Option(help="Mean tokens of a document.")
    ] = None,
    documents: Annotated[
        int | None,
        typer.Option(help="Documents of the corpus; as many as the tokens need if none."),
    ] = None,
    parameters: Annotated[
        str, typer.Option(metavar="N", help="Of the trained model, such as 8B.")
    ] = "",
    synthesizer_parameters: Annotated[
        str, typer.Option(metavar="N", help="Of the synthesizer, such as 7B.")
    ] = "",
    show_rates: Annotated[
        bool, typer.Option("--show-rates", help="Print all rates and their origins, and end.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Predict GPU-hours, wall time, storage and cost of a run, and each stage's bottleneck."""
    from launch.planning.cluster import Cluster
    from launch.planning.demand import Sizes
    from launch.planning.measured import rates_of_run
    from launch.planning.plan import make_plan
    from launch.planning.rates import load_rates
    from launch.planning.shape import parse_count
    from launch.planning.table import plan_json, plan_lines
    from launch.references import invocation_of, run_folder_of

    invocation = invocation_of(config, overrides)
    cluster = Cluster(gpu.lower(), nodes, gpus_per_node, price, preemptions_per_day)
    budgets = [parse_count(text) for text in tokens or _BUDGETS]
    if dry_run:
        print(f"would read {invocation.config_path} and the rates of {rates}; plans write nothing")
        return
    known = load_rates()
    if rates != "shipped":
        known = rates_of_run(run_folder_of(rates, None), known)
    if show_rates:
        print("\n".join(known.lines()))
        return
    sizes = Sizes(document_tokens, documents, parse_count(parameters) if parameters else None)
    found = make_plan(
        config,
        invocation.config,
        cluster,
        known,
        budgets,
        sizes,
        parse_count(synthesizer_parameters) if synthesizer_parameters else None,
    )
    print(plan_json(found) if as_json else "\n".join(plan_lines(found)))
