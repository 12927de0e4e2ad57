"""Everything that a page is made of, read from the folder of one run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launch.rendering import Layouts, layouts_of
from launch.report.corpus import CorpusFigures, gather_corpus
from launch.report.dropped import DroppedExamples, gather_dropped_records
from launch.report.speed import SynthesisSpeed, gather_speed
from launch.report.stages import StageFigures, gather_stages
from launch.report.training import TrainingFigures, gather_training
from pipeline.errors import InputError
from pipeline.run_folder import RunFolder


@dataclass(frozen=True)
class RunFigures:
    """The figures of one run."""

    path: str
    stages: Mapping[str, StageFigures]
    corpus: CorpusFigures | None
    """None where no chain is committed."""
    dropped_records: DroppedExamples
    speed: SynthesisSpeed
    training: TrainingFigures

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return Path(self.path).name

    @property
    def layouts(self) -> Layouts:
        """In which layouts chains are shown: those of packing, or the defaults."""
        return layouts_of(self.stages["pack"].config)


def gather_run(folder: RunFolder, max_documents: int) -> RunFigures:
    """Read a run, whatever stages it has reached.

    Args:
        folder: the run's folder.
        max_documents: most documents to read for corpus metrics, and most dropped records.

    Raises:
        InputError: no stage has begun, or `max_documents` is no positive number.
    """
    if max_documents < 1:
        raise InputError(f"--max-documents ({max_documents}) must be at least 1; try 20000")
    stages = gather_stages(folder)
    if all(stage.state == "not begun" for stage in stages.values()):
        raise InputError(
            f"{folder.root} holds no stage of a run, so there is nothing to report; give the "
            f"folder of a run, or start one with `ipt run CONFIG`"
        )
    return RunFigures(
        path=str(Path(folder.root).absolute()),
        stages=stages,
        corpus=gather_corpus(stages, max_documents),
        dropped_records=gather_dropped_records(stages["ingest"], max_documents),
        speed=gather_speed(folder),
        training=gather_training(folder),
    )
