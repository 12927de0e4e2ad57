"""The packing stage's identity; what it writes is tested with the real Ray in integration."""

from pathlib import Path

import pytest

from pipeline.contracts import Chain, Document, RenderedText
from pipeline.errors import InputError, StaleStageError
from pipeline.packing.config import PackConfig
from pipeline.packing.job import PackInputs, run_pack
from pipeline.stage import open_stage, read_manifest


class Renderer:
    """Writes nothing; only its fingerprint matters here."""

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint

    def __call__(self, chain: Chain, seed: int) -> RenderedText:
        raise AssertionError("there are no chains")

    def document(self, document: Document) -> RenderedText:
        raise AssertionError("there are no documents")

    def fingerprint(self) -> str:
        return self._fingerprint


@pytest.fixture
def inputs(tmp_path: Path) -> PackInputs:
    """Complete stages without documents."""
    found = PackInputs(str(tmp_path / "documents"), str(tmp_path / "filtered"))
    open_stage(found.documents, "ingest", {}, {}).close()
    keys = {"documents": read_manifest(found.documents).input_key()}
    open_stage(found.augmented, "filter", {}, keys).close()
    return found


def test_other_templates_make_the_rows_stale(inputs: PackInputs, tmp_path: Path) -> None:
    config, rows = PackConfig(tokenizer="none"), str(tmp_path / "rows")
    first = run_pack(config, inputs, rows, Renderer("one"))
    assert run_pack(config, inputs, rows, Renderer("one")) == first
    with pytest.raises(StaleStageError, match=r"inputs\.templates"):
        run_pack(config, inputs, rows, Renderer("two"))


def test_another_seed_of_the_layouts_is_refused_by_name(inputs: PackInputs, tmp_path: Path) -> None:
    rows = str(tmp_path / "rows")
    run_pack(PackConfig(tokenizer="none"), inputs, rows, Renderer("one"))
    with pytest.raises(InputError, match=r"config\.template_seed"):
        run_pack(PackConfig(tokenizer="none", template_seed=1), inputs, rows, Renderer("one"))
