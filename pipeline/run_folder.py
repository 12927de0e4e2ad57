"""Where a run keeps what: one folder, one place for every stage."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, field_validator

from pipeline import storage
from pipeline.config import StrictConfig

REPORT_FILE, METRICS_FILE = "report.json", "metrics.jsonl"


class RunConfig(StrictConfig):
    """The run as a whole."""

    dir: str
    """Folder of the run, on a file system that all nodes share, or a URI such as `s3://...` (then
    without training); a relative one starts at the working directory."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Decides the mixture's order and the initial weights."""
    allow_append: bool = False
    """Go on where a stage's inputs have only grown: files, sources or shards were added."""

    @field_validator("dir")
    @classmethod
    def _expanded(cls, folder: str) -> str:
        folder = folder.removeprefix("file://")
        return folder.rstrip("/") if "://" in folder else str(Path(folder).expanduser())


@dataclass(frozen=True)
class RunFolder:
    """Paths below a run's folder."""

    root: str

    @property
    def documents(self) -> str:
        """Ingested documents."""
        return storage.join(self.root, "documents")

    @property
    def augmented(self) -> str:
        """Chains: documents and the pairs about them."""
        return storage.join(self.root, "augmented")

    @property
    def filtered(self) -> str:
        """Chains with the pairs that survived the filters."""
        return storage.join(self.root, "filtered")

    @property
    def tasks(self) -> str:
        """Task data as chains of one shot each."""
        return storage.join(self.root, "tasks")

    @property
    def rows(self) -> str:
        """Packed rows."""
        return storage.join(self.root, "rows")

    @property
    def train(self) -> str:
        """Metrics and checkpoints."""
        return storage.join(self.root, "train")

    @property
    def checkpoints(self) -> str:
        """Checkpoints, each with a marker once it is complete."""
        return storage.join(self.train, "checkpoints")

    @property
    def metrics(self) -> str:
        """One JSON line a step."""
        return storage.join(self.train, METRICS_FILE)

    @property
    def synth_metrics(self) -> str:
        """Progress of synthesis over time (`pipeline.progress.ProgressLog`)."""
        return storage.join(self.augmented, METRICS_FILE)

    @property
    def hf(self) -> str:
        """The exported Hugging Face folder."""
        return storage.join(self.root, "hf")

    @property
    def eval(self) -> str:
        """Held-out losses and the sample."""
        return storage.join(self.root, "eval")

    @property
    def report(self) -> str:
        """Held-out losses and the sample, as JSON."""
        return storage.join(self.eval, REPORT_FILE)

    @property
    def scores(self) -> str:
        """Scores on tasks, a file each, that no evaluation measures twice."""
        return storage.join(self.eval, "scores")

    @property
    def synthesizer_report(self) -> str:
        """What synthesizers' pairs are worth, as JSON; a page of the same name lies beside it."""
        return storage.join(self.eval, "synthesizers.json")

    @property
    def comparison(self) -> str:
        """Scores of several models, as JSON; a page of the same name lies beside it."""
        return storage.join(self.eval, "comparison.json")

    @property
    def page(self) -> str:
        """The report as a page for people."""
        return storage.join(self.root, "report.html")

    @property
    def logs(self) -> str:
        """Logs of workers and ranks."""
        return storage.join(self.root, "logs")

    @property
    def worker_logs(self) -> str | None:
        """Where a link to the logs of Ray's workers belongs; None where there can be none."""
        return self.logs if storage.is_local(self.root) else None
