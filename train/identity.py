"""What a training run is, apart from the process that carries it out; imports no torch."""

from pipeline.mixture.config import MixtureConfig
from pipeline.opening import Growth, inputs_have_grown, open_stage
from pipeline.run_folder import RunConfig, RunFolder
from pipeline.stage import Manifest, StageFolder, StageIdentity
from train.config import TrainConfig


def open_train_stage(
    train: TrainConfig, mixture: MixtureConfig, run: RunConfig, rows: Manifest
) -> StageFolder:
    """Open the training folder of a run that is under way, or of a new one.

    With `run.allow_append`, rows that were packed anew are taken for ones that have grown, too; the
    loader, which knows what has been seen, refuses any others.

    Raises:
        StaleStageError: it holds training with another config or on other rows.
    """
    config = train.content_fields() | {
        "mixture": mixture.content_fields(),
        "mixture_patterns": mixture.pattern_order(),
        "seed": run.seed,
    }
    growth = Growth(
        run.allow_append,
        _only_rows_differ if run.allow_append else inputs_have_grown,
        "shards may be added behind the rows it was trained on",
        when_complete=False,
    )
    return open_stage(RunFolder(run.dir).train, "train", config, {"rows": rows.input_key()}, growth)


def _only_rows_differ(found: StageIdentity, wanted: StageIdentity) -> bool:
    return found.model_copy(update={"inputs": wanted.inputs}).fields() == wanted.fields()
