"""Arguments and options that several commands take."""

from pathlib import Path
from typing import Annotated, Any

import typer

Config = Annotated[str, typer.Argument(metavar="CONFIG", help="TOML of the run, or a preset.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="Folder of a run, its TOML or a preset.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SECTION.KEY=VALUE]...", help="Settings over those of the file."),
]
AllowAppend = Annotated[
    bool,
    typer.Option("--allow-append", help="Keep what is written, go on with what was added."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be used, touch nothing.")]
Hostfile = Annotated[
    Path | None,
    typer.Option(help="Train on these hosts over ssh; a line each, as worker-1 slots=8."),
]


def settings(overrides: list[str] | None, allow_append: bool) -> list[str]:
    """Settings over those of the file, the flags among them."""
    return [*(overrides or []), *(["run.allow_append=true"] if allow_append else [])]


def show_config(invocation: Any) -> None:
    """Print every setting of an invocation, resolved."""
    from pipeline.config import flatten

    for key, value in flatten(invocation.config.model_dump()).items():
        print(f"{key} = {value!r}")
