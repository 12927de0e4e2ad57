"""What CONFIG and RUN of the command line stand for: a file, a preset, a folder."""

from pathlib import Path

from launch.config import PipelineConfig, TuneConfig
from launch.stages import Invocation, Stage, stages_in, stages_of
from pipeline.config import load_config, read_toml
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
    if _tunes(reference):
        raise InputError(
            f"config {reference} is that of a synthesizer's tuning, not of a pre-training run; use "
            f"ipt tune and ipt tune-eval, or ipt pack, train, export and mixture"
        )
    path = find_config(reference)
    config = load_config(PipelineConfig, path, overrides or [])
    return Invocation(config, path, overrides or [])


def tuning_of(reference: str, overrides: list[str] | None) -> Invocation[TuneConfig]:
    """The tuning of a synthesizer that a config and settings over it describe.

    Raises:
        InputError: no such config, or a setting that is not usable.
    """
    path = find_config(reference, _PRESETS / "tune")
    if not _tunes(path):
        raise InputError(
            f"config {reference} tunes no synthesizer, as it has no [tasks]; add that section, "
            f"be it empty"
        )
    config = load_config(TuneConfig, path, overrides or [])
    return Invocation(config, path, overrides or [])


def any_run_of(
    reference: str, overrides: list[str] | None
) -> Invocation[PipelineConfig] | Invocation[TuneConfig]:
    """A run of either kind, whichever the config's sections are of.

    Raises:
        InputError: no such config, or a setting that is not usable.
    """
    if _tunes(reference):
        return tuning_of(reference, overrides)
    return invocation_of(reference, overrides)


def _tunes(reference: str) -> bool:
    """Whether a config is that of a synthesizer's tuning."""
    if Path(reference).is_file():
        return "tasks" in read_toml(reference)
    return (_PRESETS / "tune" / f"{reference}.toml").is_file()


def run_folder_of(reference: str, overrides: list[str] | None) -> RunFolder:
    """The folder of a run, given as such or by its config.

    Raises:
        InputError: neither.
    """
    if Path(reference).is_dir() or "://" in reference:
        return RunFolder(reference.rstrip("/"))
    return _config_of(reference, overrides).folder


def run_named(reference: str, overrides: list[str] | None) -> tuple[RunFolder, tuple[Stage, ...]]:
    """The folder of a run, given as such or by its config, and the stages that it has.

    Raises:
        InputError: neither.
    """
    folder = run_folder_of(reference, overrides)
    if folder.root == reference.rstrip("/"):
        return folder, stages_in(folder)
    return folder, stages_of(_config_of(reference, overrides))


def _config_of(reference: str, overrides: list[str] | None) -> PipelineConfig | TuneConfig:
    presets = (_PRESETS / f"{reference}.toml", _PRESETS / "tune" / f"{reference}.toml")
    if reference.endswith(".toml") or any(preset.is_file() for preset in presets):
        return any_run_of(reference, overrides).config
    raise InputError(f"run {reference!r}: no such folder; give a run's folder or its TOML")
