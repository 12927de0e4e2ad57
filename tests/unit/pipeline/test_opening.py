"""Opening a stage's folder: anew, to go on, after its inputs have grown."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
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


def two_stages(folder: Path) -> Manifest:
    """Two complete stages, the second made from the first; the manifest of the first."""
    inputs = {"a/00000": "a (1 bytes)"}
    documents = grow(open_stage(str(folder / "docs"), "ingest", {}, inputs), 0)
    grow(chain_stage(folder, documents), 0, "x")
    return documents


@pytest.fixture
def stages(tmp_path: Path) -> Manifest:
    return two_stages(tmp_path)


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
    message = (
        "documents/ has grown after the synth stage used it; `ipt synth --allow-append` brings"
    )
    with pytest.raises(StaleStageError, match=message) as old:
        before.require_input("documents", documents)
    assert old.value.has_grown
    before.require_input("documents", documents, or_grown=True)
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
    with pytest.raises(
        StaleStageError, match="complete stage of this kind does not go on"
    ) as caught:
        chain_stage(tmp_path, documents, final)
    assert caught.value.has_grown
    (tmp_path / "aug/manifest.json").unlink()
    assert chain_stage(tmp_path, documents, final).finished() is None


def test_a_stage_that_was_not_adopted_is_as_it_was(stages: Manifest, tmp_path: Path) -> None:
    documents = grown_documents(tmp_path)
    chain_stage(tmp_path, documents, Growth(True))
    assert chain_stage(tmp_path, stages).finished() is not None


def files_of(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_growth_that_is_undone_is_taken_back(stages: Manifest, tmp_path: Path) -> None:
    before = read_manifest(str(tmp_path / "aug"))
    grown = grown_documents(tmp_path)
    stage = chain_stage(tmp_path, grown, Growth(True))
    stage.adopt()
    write_part(stage, 1, "y")
    assert find_manifest(stage.folder) is None
    stage = chain_stage(tmp_path, grown)  # killed, and started again
    assert stage.finished() is None
    assert "part-00001" in stage.committed()
    assert chain_stage(tmp_path, stages).finished() == before
    assert files_of(tmp_path / "aug") == {
        *("manifest.json", "stage.json", "part-00000.json", "part-00000.jsonl.zst")
    }


class CutOffError(Exception):
    """Instead of SIGKILL."""


@contextlib.contextmanager
def cut_off_at(number: int) -> Iterator[None]:
    """Let the write or removal of that number, and all after it, fail."""
    left = [number]

    def guarded(call: Callable[..., object]) -> Callable[..., object]:
        def guard(*args: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise CutOffError
            return call(*args)

        return guard

    with pytest.MonkeyPatch.context() as patch:
        for name in ("write_atomic", "create", "remove_file"):
            patch.setattr(storage, name, guarded(getattr(storage, name)))
        yield


@pytest.mark.parametrize("is_undone", [False, True])
def test_growth_cut_off_anywhere_goes_on_or_is_taken_back(tmp_path: Path, is_undone: bool) -> None:
    for number in itertools.count():
        folder = tmp_path / str(number)
        documents = two_stages(folder)
        before, grown = read_manifest(str(folder / "aug")), grown_documents(folder)
        is_cut_off = False
        try:
            with cut_off_at(number):
                stage = chain_stage(folder, grown, Growth(True))
                stage.adopt()
                write_part(stage, 1, "y", "z")
                if is_undone:
                    chain_stage(folder, documents)
                else:
                    stage.close()
        except CutOffError:
            is_cut_off = True
        if is_undone:
            assert chain_stage(folder, documents).finished() == before
            assert list(read_commits(str(folder / "aug"))) == ["part-00000"]
        else:
            stage = chain_stage(folder, grown, Growth(True))
            after = stage.finished() or grow(stage, 1, "y", "z")
            assert (after.records_out, after.instance) == (3, before.instance)
        if not is_cut_off:
            break
    assert number > 5


def test_a_run_that_did_not_see_the_growth_does_not_close_the_folder(
    stages: Manifest, tmp_path: Path
) -> None:
    """Two drivers on an object store, where nothing keeps the second one out."""
    (tmp_path / "aug/manifest.json").unlink()
    late = chain_stage(tmp_path, stages)
    grown = grown_documents(tmp_path)
    stage = chain_stage(tmp_path, grown, Growth(True))
    stage.adopt()
    with pytest.raises(InputError, match="another one took the folder over"):
        late.close()
    old = before_of(stages, tmp_path)
    storage.write_atomic(str(tmp_path / "aug/manifest.json"), old)  # it was a moment faster
    assert stage.finished() is None
    after = grow(stage, 1, "y", "z")
    assert read_manifest(str(tmp_path / "aug")) == after
    after.require_input("documents", grown)


def before_of(documents: Manifest, tmp_path: Path) -> bytes:
    """A manifest of the chains as they were made from `documents`."""
    folder = tmp_path / "elsewhere"
    manifest = grow(chain_stage(folder, documents), 0, "x")
    return manifest.model_dump_json().encode()
