"""What a training run is, apart from the process that carries it out; imports no torch."""

from pipeline.mixture.config import MixtureConfig
from pipeline.run_folder import RunConfig, RunFolder
from pipeline.stage import Manifest, StageFolder, open_stage
from train.config import TrainConfig


def open_train_stage(
    train: TrainConfig, mixture: MixtureConfig, run: RunConfig, rows: Manifest
) -> StageFolder:
    """Open the training folder of a run.

    With `train.allow_append`, rows that were packed anew are taken for ones that have grown; the
    loader, which knows what has been seen, refuses any others.

    Raises:
        StaleStageError: it holds training with another config or on other rows.
    """
    config = train.content_fields() | {
        "mixture": mixture.content_fields(),
        "mixture_patterns": mixture.pattern_order(),
        "seed": run.seed,
    }
    may_change = ["rows"] if train.allow_append else []
    return open_stage(
        RunFolder(run.dir).train, "train", config, {"rows": rows.input_key()}, may_change
    )
