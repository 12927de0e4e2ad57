"""The whole configuration of a run: one section a stage.

A run pre-trains a model (`PipelineConfig`) or tunes a synthesizer (`TuneConfig`).
"""

from pathlib import Path

from pydantic import model_validator

from pipeline import storage
from pipeline.cluster import is_ray_job_copy
from pipeline.config import StrictConfig
from pipeline.errors import InputError
from pipeline.ingest.config import IngestConfig
from pipeline.mixture.config import MixtureConfig
from pipeline.mixture.planning import check_names, check_patterns
from pipeline.packing.config import PackConfig
from pipeline.run_folder import RunConfig, RunFolder
from synth.config import FilterConfig, SynthConfig
from synth.measuring.config import TuneEvalConfig
from synth.styles.library import load_library
from synth.task_data.config import TasksConfig, TaskSourceConfig
from synth.templates import load_pools
from train.config import EvalConfig, ExportConfig, TrainConfig

SELF_SYNTHETIC = "self-synthetic"
"""Task source of the pairs that a tuning run's own prompted model wrote."""


class TrainingRunConfig(StrictConfig):
    """What every run has: rows, a model trained on them, its export."""

    run: RunConfig
    """Folder and seed."""
    pack: PackConfig
    """Tokenizer and rows."""
    mixture: MixtureConfig = MixtureConfig()
    """Shares of the row sources."""
    train: TrainConfig
    """Model and optimization."""
    export: ExportConfig = ExportConfig()
    """The Hugging Face folder."""

    @property
    def folder(self) -> RunFolder:
        """Paths of the run; absolute, as workers may have another working directory.

        Raises:
            InputError: a relative folder in a Ray job, whose working directory is a copy that goes.
        """
        if not storage.is_local(self.run.dir):
            return RunFolder(self.run.dir)
        if is_ray_job_copy(Path.cwd()):
            self.require_folder_for_jobs()
        return RunFolder(str(Path(self.run.dir).absolute()))

    def require_folder_for_jobs(self) -> None:
        """Refuse a folder of the run that a Ray job would write into its own copy of the project.

        Raises:
            InputError: the folder is relative.
        """
        if storage.is_local(self.run.dir) and not Path(self.run.dir).is_absolute():
            raise InputError(
                f"run.dir ({self.run.dir}) is relative, which in a Ray job means the job's own "
                f"copy of the working directory, and that is removed; give an absolute path that "
                f"all nodes share, or a URI such as s3://bucket/run"
            )


class PipelineConfig(TrainingRunConfig):
    """The TOML of a pre-training run."""

    ingest: IngestConfig
    """Corpora."""
    synth: SynthConfig
    """Synthesizer and workers."""
    filter: FilterConfig = FilterConfig()
    """Which pairs survive, over the whole corpus."""
    eval: EvalConfig = EvalConfig()
    """Evaluation of the export."""

    @model_validator(mode="after")
    def _sections_agree(self) -> "PipelineConfig":
        """Find now what would otherwise end the run hours later."""
        if self.synth.protocol == "chat":
            load_library(self.synth.style_folder, self.synth.styles)
        if self.pack.template_folder:
            load_pools(self.pack.template_folder)
        routes = {
            f"{name}-{route}"
            for name, source in self.ingest.sources.items()
            for route, share in (
                ("augmented", source.convert_fraction),
                ("raw", 1 - source.convert_fraction),
            )
            if share > 0
        }
        try:
            check_names(self.mixture, routes)
            check_patterns("pack.loss_on", self.pack.loss_on, routes)
        except InputError as error:
            raise ValueError(str(error)) from None
        return self


class TuneConfig(TrainingRunConfig):
    """The TOML of a synthesizer's tuning."""

    ingest: IngestConfig | None = None
    """Self-synthetic tuning: corpora that `[synth]` writes pairs about."""
    synth: SynthConfig | None = None
    """Self-synthetic tuning: the prompted model, whose filtered pairs become tuning data."""
    filter: FilterConfig = FilterConfig()
    """Self-synthetic tuning: which pairs survive."""
    tasks: TasksConfig = TasksConfig()
    """Context-based task data."""
    tune_eval: TuneEvalConfig = TuneEvalConfig()
    """What `ipt tune-eval` measures."""

    @model_validator(mode="after")
    def _has_data(self) -> "TuneConfig":
        if self.run.allow_append:
            raise ValueError("run.allow_append: tuning data do not grow; tune in another run.dir")
        if self.synth is not None and self.synth.protocol == "chat":
            load_library(self.synth.style_folder, self.synth.styles)
        if (self.ingest is None) != (self.synth is None):
            raise ValueError("self-synthetic tuning needs both [ingest] and [synth]; add the other")
        if not self.tasks.sources and self.ingest is None:
            raise ValueError(
                "there is no tuning data: name files in [tasks.sources.NAME], or give [ingest] and "
                "[synth], beside an empty [tasks], to have a prompted model write it"
            )
        if SELF_SYNTHETIC in self.tasks.sources:
            raise ValueError(
                f"tasks.sources.{SELF_SYNTHETIC} is the name of what [synth] writes; take another"
            )
        return self

    def all_tasks(self) -> TasksConfig:
        """The task data named, and the pairs that a prompted model wrote in this run."""
        if self.synth is None:
            return self.tasks
        own = TaskSourceConfig(inputs=(self.folder.filtered,), format="chains")
        return self.tasks.model_copy(
            update={"sources": {**self.tasks.sources, SELF_SYNTHETIC: own}}
        )
