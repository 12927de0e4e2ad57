"""Commands for Kubernetes: `ipt k8s render`."""

from pathlib import Path
from typing import Annotated

import typer

from launch.exits import reports_errors
from launch.options import Config, DryRun, Overrides


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    commands = typer.Typer(
        no_args_is_help=True, help="Manifests for Kubernetes; see k8s/README.md."
    )
    commands.command(
        epilog="Example: ipt k8s render my.toml run.dir=/mnt/runs/mine --overlay gpu --nodes 2 "
        "--image registry.example/ipt:1 -o deploy"
    )(render)
    # A second command would be added here; without one typer would drop the name `render`.
    commands.callback()(_of_kubernetes)
    app.add_typer(commands, name="k8s")


def _of_kubernetes() -> None:
    """Manifests for Kubernetes; see k8s/README.md."""


@reports_errors
def render(
    config: Config,
    overrides: Overrides = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path(
        "deploy"
    ),
    overlay: Annotated[
        str, typer.Option(help="dev (one node, no GPU), gpu, or spot (GPUs that may go).")
    ] = "gpu",
    image: Annotated[
        str, typer.Option(help="Image with a tag or digest; the Dockerfile's own tag if none.")
    ] = "",
    namespace: Annotated[str, typer.Option(help="Namespace.")] = "instruct-pretrain",
    nodes: Annotated[int, typer.Option(help="Nodes, so pods, of the training.")] = 1,
    storage: Annotated[
        str,
        typer.Option(help="Where run.dir is: volume, or an S3 store by secret or by identity."),
    ] = "volume",
    identity: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Annotation of the service accounts that ties them to a role of the cloud.",
        ),
    ] = None,
    training: Annotated[str, typer.Option(help="jobset, kubeflow (Trainer), or none.")] = "jobset",
    queue: Annotated[str, typer.Option(help="LocalQueue of Kueue to wait in; none if empty.")] = "",
    dry_run: DryRun = False,
) -> None:
    """Write manifests for a run: a kustomize folder to apply stage by stage."""
    from launch.kubernetes.folder import render as render_folder
    from launch.kubernetes.request import Request
    from launch.references import invocation_of

    request = Request(
        output=output,
        overlay=overlay,
        image=image,
        namespace=namespace,
        num_nodes=nodes,
        storage=storage,
        identity=tuple(identity or ()),
        training=training,
        queue=queue,
    )
    lines = render_folder(invocation_of(config, overrides), request, dry_run=dry_run)
    print("\n".join(lines), flush=True)
