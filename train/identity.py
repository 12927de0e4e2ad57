"""What a training run is, apart from the process that carries it out; imports no torch."""

from pipeline.kept import find_model, model_key
from pipeline.mixture.config import MixtureConfig
from pipeline.opening import Growth, inputs_have_grown, open_stage
from pipeline.run_folder import RunConfig, RunFolder
from pipeline.stage import Manifest, StageFolder, StageIdentity
from train.config import ModelConfig, TrainConfig

BASE = "base"
"""Input of a training of adapters: the weights that these are added to."""


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
    inputs = {"rows": rows.input_key()}
    if train.lora is not None:
        inputs[BASE] = base_key(train.model)
    growth = Growth(
        run.allow_append,
        _only_rows_differ if run.allow_append else inputs_have_grown,
        "shards may be added behind the rows it was trained on",
        when_complete=False,
    )
    return open_stage(RunFolder(run.dir).train, "train", config, inputs, growth)


def base_key(model: ModelConfig) -> str:
    """Key of the weights that an adapter is trained on: with other ones it would be worthless.

    Raises:
        InputError: they are not there.
    """
    return model_key(find_model(model.init_from))


def _only_rows_differ(found: StageIdentity, wanted: StageIdentity) -> bool:
    inputs = {**found.inputs, "rows": wanted.inputs["rows"]}
    return found.model_copy(update={"inputs": inputs}).fields() == wanted.fields()
