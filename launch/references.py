"""What CONFIG and RUN of the command line stand for: a file, a preset, a folder."""

from pathlib import Path

from launch.config import PipelineConfig, TuneConfig
from launch.stages import Invocation
from pipeline.config import load_config
from pipeline.errors import InputError
from pipeline.run_folder import RunFolder

_PRESETS = Path(__file__).resolve().parent / "configs"


def find_config(reference: str, folder: Path = _PRESETS) -> str:
    """Path of a config: a file, or the name of a preset.

    Args:
        reference: as it stands on the command line.
        folder: of the presets.

    Raises:
        InputError: neither; names the presets.
    """
    if Path(reference).is_file():
        return reference
    preset = folder / f"{reference}.toml"
    if preset.is_file():
        return str(preset)
    names = ", ".join(sorted(path.stem for path in folder.glob("*.toml")))
    raise InputError(f"config {reference!r}: no such file and no such preset; presets: {names}")


def invocation_of(reference: str, overrides: list[str] | None) -> Invocation[PipelineConfig]:
    """The run that a config and settings over it describe.

    Raises:
        InputError: no such config, or a setting that is not usable.
    """
    path = find_config(reference)
    config = load_config(PipelineConfig, path, overrides or [])
    return Invocation(config, path, overrides or [])


def tuning_of(reference: str, overrides: list[str] | None) -> Invocation[TuneConfig]:
    """The tuning of a synthesizer that a config and settings over it describe.

    Raises:
        InputError: no such config, or a setting that is not usable.
    """
    path = find_config(reference, _PRESETS / "tune")
    config = load_config(TuneConfig, path, overrides or [])
    return Invocation(config, path, overrides or [])


def run_folder_of(reference: str, overrides: list[str] | None) -> RunFolder:
    """The folder of a run, given as such or by its config.

    Raises:
        InputError: neither.
    """
    if Path(reference).is_dir() or "://" in reference:
        return RunFolder(reference.rstrip("/"))
    if reference.endswith(".toml") or (_PRESETS / f"{reference}.toml").is_file():
        return invocation_of(reference, overrides).config.folder
    raise InputError(f"run {reference!r}: no such folder; give a run's folder or its TOML")
