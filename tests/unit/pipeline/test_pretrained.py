"""Model references."""

from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.pretrained import load_tokenizer, resolve_model, resolve_package_path


def test_a_path_inside_a_package_is_found_without_importing_it() -> None:
    import hypothesis

    found = resolve_package_path("package://hypothesis/extra/*.py")
    assert found == str(Path(hypothesis.__file__).parent / "extra" / "*.py")
    assert resolve_package_path("org/name") == "org/name"


@pytest.mark.parametrize("package", ["no_such_package", "not-a-name", ""])
def test_a_missing_package_is_named(package: str) -> None:
    with pytest.raises(InputError, match="is not installed"):
        resolve_package_path(f"package://{package}/x")


@pytest.mark.parametrize("reference", ["./nowhere", "/no/such/folder", "/no/such/model.gguf"])
def test_a_missing_model_is_named(reference: str) -> None:
    with pytest.raises(InputError, match="no such"):
        resolve_model(reference)


def test_folders_and_hub_names_pass(tmp_path: Path) -> None:
    assert resolve_model(str(tmp_path)) == str(tmp_path)
    assert resolve_model("org/name") == "org/name"


def test_a_folder_without_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be loaded"):
        load_tokenizer(str(tmp_path))
