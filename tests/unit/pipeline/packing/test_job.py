"""The packing stage's identity; what it writes is tested with the real Ray in integration."""

from pathlib import Path

import pytest

from pipeline.contracts import Chain, Document, RenderedText
from pipeline.errors import InputError, StaleStageError
from pipeline.opening import open_stage
from pipeline.packing.config import PackConfig
from pipeline.packing.job import require_trained_tokens, run_pack
from pipeline.packing.plan import plan_rows
from pipeline.packing.worker import PackInputs, loss_on_of, shuffled
from pipeline.stage import PartCommit, read_manifest


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


def test_rows_are_shuffled_by_the_name_of_their_part() -> None:
    plan = plan_rows(list(range(60, 0, -1)), 64)
    one, again, other = (shuffled(plan, part) for part in ("part-0", "part-0", "part-1"))
    assert one == again
    assert one not in (plan, other)
    assert sorted(one, key=plan.index) == sorted(other, key=plan.index) == plan


def test_the_first_pattern_says_what_a_source_is_trained_on() -> None:
    config = PackConfig(tokenizer="none", loss_on={"a-*": "pairs", "*-augmented": "responses"})
    found = [loss_on_of(config, name) for name in ("a-augmented", "b-augmented", "b-raw")]
    assert found == ["pairs", "responses", None]


def test_task_data_are_trained_on_their_pairs_if_nothing_else_is_said() -> None:
    plain = PackConfig(tokenizer="none")
    names = ["squad-tasks", "tasks-raw", "tasks", "my-tasks-augmented"]
    assert [loss_on_of(plain, name) for name in names] == ["pairs", None, None, None]
    config = PackConfig(tokenizer="none", loss_on={"squad-*": "responses"})
    found = [loss_on_of(config, name) for name in ("squad-tasks", "race-tasks")]
    assert found == ["responses", "pairs"]


def test_a_source_of_which_nothing_would_be_trained_on_is_refused(tmp_path: Path) -> None:
    stage = open_stage(str(tmp_path), "pack", {}, {})
    for source, trained in (("a-raw", 0), ("b-augmented", 3)):
        counts = {"trained_tokens": trained}
        part = f"{source}/part-00000000"
        stage.commit(PartCommit(part=part, files=[], records_in=1, records_out=1, counts=counts))
    require_trained_tokens(stage, PackConfig(tokenizer="none", loss_on={"b-*": "pairs"}))
    with pytest.raises(InputError, match="nothing of a-raw would be trained on"):
        require_trained_tokens(stage, PackConfig(tokenizer="none", loss_on={"*": "pairs"}))


def test_examples_that_are_all_longer_than_a_row_are_no_fault_of_loss_on(tmp_path: Path) -> None:
    stage = open_stage(str(tmp_path), "pack", {}, {})
    config = PackConfig(tokenizer="none", seq_len=512)

    def commit(part: str, num_dropped: int, trained: int) -> None:
        stage.commit(
            PartCommit(
                part=part,
                files=[],
                records_in=2,
                records_out=2 - num_dropped,
                dropped={"longer_than_a_row": num_dropped},
                counts={"trained_tokens": trained},
            )
        )

    commit("qasper-tasks/part-00000000", 2, 0)
    with pytest.raises(InputError, match=r"raise pack\.seq_len \(512\)"):
        require_trained_tokens(stage, config)
    commit("squad-tasks/part-00000000", 1, 9)
    require_trained_tokens(stage, config)
