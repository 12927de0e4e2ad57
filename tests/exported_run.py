"""A run that has reached its export, written without training."""

from pathlib import Path

from pipeline.opening import open_stage
from pipeline.run_folder import RunFolder
from pipeline.stage import read_manifest
from tests.packed import random_rows, write_packed
from tests.tiny_model import save_tiny_model


def write_exported_run(root: Path) -> RunFolder:
    """Rows without held-out ones, a training without checkpoints, a tiny exported model."""
    folder = RunFolder(str(root))
    write_packed(Path(folder.rows), {"a-raw": [random_rows(2, 32, 1)]}, 2)
    rows = read_manifest(folder.rows)
    config = {"document_mask": True}
    trained = open_stage(folder.train, "train", config, {"rows": rows.input_key()}).close()
    exported = open_stage(folder.hf, "export", {}, {"train": trained.input_key()})
    save_tiny_model(Path(folder.hf))
    exported.close()
    return folder
