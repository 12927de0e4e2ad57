"""Opening a stage's folder: anew, to go on, after its inputs have grown."""

from pathlib import Path

import pytest

from pipeline import storage
from pipeline.errors import InputError, StaleStageError
from pipeline.opening import Growth, open_stage
from pipeline.stage import Manifest, StageFolder, find_manifest, read_commits, read_manifest
from tests.unit.pipeline.test_stage import write_part


def test_same_identity_goes_on_another_is_refused_by_field(tmp_path: Path) -> None:
    first = open_stage(str(tmp_path), "demo", {"a": 1, "b": {"c": (1, 2)}}, {"docs": "k"})
    write_part(first, 0, "x")
    again = open_stage(str(tmp_path), "demo", {"a": 1, "b": {"c": (1, 2)}}, {"docs": "k"})
    assert again.identity.instance == first.identity.instance
    with pytest.raises(StaleStageError, match=r"config\.b\.c: the folder has \[1, 2\].* wants 3"):
        open_stage(str(tmp_path), "demo", {"a": 1, "b": {"c": 3}}, {"docs": "k"})
    with pytest.raises(StaleStageError) as caught:
        open_stage(str(tmp_path), "demo", {"a": 1, "b": {"c": [1, 2]}}, {"docs": "other"})
    assert caught.value.fields == ["inputs.docs"]


def test_a_start_that_wrote_nothing_binds_nobody(tmp_path: Path) -> None:
    open_stage(str(tmp_path), "demo", {"model": "typo"}, {})
    assert open_stage(str(tmp_path), "demo", {"model": "right"}, {}).identity.config == {
        "model": "right"
    }


def test_parts_whose_owner_is_unknown_are_refused(tmp_path: Path) -> None:
    stage = open_stage(str(tmp_path), "demo", {"a": 1}, {})
    write_part(stage, 0, "x")
    (tmp_path / "stage.json").unlink()
    with pytest.raises(InputError, match=r"holds parts but no stage\.json"):
        open_stage(str(tmp_path), "demo", {"a": 2}, {})


def grow(stage: StageFolder, number: int, *texts: str) -> Manifest:
    """Add a part and close."""
    stage.adopt()
    write_part(stage, number, *texts)
    return stage.close()


def chain_stage(folder: Path, documents: Manifest, growth: Growth | None = None) -> StageFolder:
    return open_stage(
        str(folder / "aug"), "synth", {"model": "m"}, {"documents": documents.input_key()}, growth
    )


@pytest.fixture
def stages(tmp_path: Path) -> Manifest:
    """Two complete stages, the second made from the first; the manifest of the first."""
    documents = grow(
        open_stage(str(tmp_path / "docs"), "ingest", {}, {"a/00000": "a (1 bytes)"}), 0
    )
    grow(chain_stage(tmp_path, documents), 0, "x")
    return documents


def grown_documents(tmp_path: Path) -> Manifest:
    inputs = {"a/00000": "a (1 bytes)", "a/00001": "b (1 bytes)"}
    growth = Growth(True, lambda found, wanted: found.inputs.items() <= wanted.inputs.items())
    return grow(open_stage(str(tmp_path / "docs"), "ingest", {}, inputs, growth), 1, "y", "z")


def test_what_has_grown_goes_on_where_that_is_asked_for(stages: Manifest, tmp_path: Path) -> None:
    before = read_manifest(str(tmp_path / "aug"))
    documents = grown_documents(tmp_path)
    assert documents.instance == stages.instance
    assert documents.fingerprint != stages.fingerprint
    with pytest.raises(StaleStageError, match="only added: --allow-append keeps") as caught:
        chain_stage(tmp_path, documents, Growth())
    assert caught.value.has_grown
    with pytest.raises(StaleStageError, match="has grown after the synth stage used it") as old:
        before.require_input("documents", documents)
    assert old.value.has_grown
    stage = chain_stage(tmp_path, documents, Growth(True))
    assert stage.finished() is None
    after = grow(stage, 1, "y", "z")
    assert after.instance == before.instance
    assert after.parts[0] == before.parts[0]
    assert after.records_out == 3
    after.require_input("documents", documents)
    assert chain_stage(tmp_path, documents).finished() == after
    assert sorted(path.name for path in (tmp_path / "aug").glob("*.json")) == [
        *("manifest.json", "part-00000.json", "part-00001.json", "stage.json")
    ]


def test_an_input_made_anew_has_not_grown(stages: Manifest, tmp_path: Path) -> None:
    storage.remove_tree(str(tmp_path / "docs"))
    documents = grow(open_stage(str(tmp_path / "docs"), "ingest", {}, stages.inputs), 0)
    with pytest.raises(StaleStageError, match="must not have been made anew") as caught:
        chain_stage(tmp_path, documents, Growth(True))
    assert not caught.value.has_grown


def test_another_setting_is_refused_though_inputs_have_grown(
    stages: Manifest, tmp_path: Path
) -> None:
    keys = {"documents": grown_documents(tmp_path).input_key()}
    with pytest.raises(StaleStageError, match=r"config\.model") as caught:
        open_stage(str(tmp_path / "aug"), "synth", {"model": "n"}, keys, Growth(True))
    assert not caught.value.has_grown


def test_a_complete_stage_may_have_to_stay_as_it_is(stages: Manifest, tmp_path: Path) -> None:
    documents, final = grown_documents(tmp_path), Growth(True, when_complete=False)
    with pytest.raises(StaleStageError, match=r"inputs\.documents"):
        chain_stage(tmp_path, documents, final)
    (tmp_path / "aug/manifest.json").unlink()
    assert chain_stage(tmp_path, documents, final).finished() is None


def test_a_stage_that_was_not_adopted_is_as_it_was(stages: Manifest, tmp_path: Path) -> None:
    documents = grown_documents(tmp_path)
    chain_stage(tmp_path, documents, Growth(True))
    assert chain_stage(tmp_path, stages).finished() is not None


def test_growth_is_taken_back(stages: Manifest, tmp_path: Path) -> None:
    before = read_manifest(str(tmp_path / "aug"))
    stage = chain_stage(tmp_path, grown_documents(tmp_path), Growth(True))
    stage.adopt()
    write_part(stage, 1, "y")
    assert find_manifest(stage.folder) is None
    stage = chain_stage(
        tmp_path, read_manifest(str(tmp_path / "docs"))
    )  # killed, and started again
    found = stage.before_growth()
    assert found is not None
    assert found.fingerprint() == before.fingerprint
    stage.revert([read_commits(stage.folder)["part-00001"]])
    assert chain_stage(tmp_path, stages).close() == before
    assert not list((tmp_path / "aug").glob("part-00001*"))
