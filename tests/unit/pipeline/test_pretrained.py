"""Model references."""

import fnmatch
import json
import shutil
from pathlib import Path

import pytest
import torch

from pipeline import pretrained
from pipeline.errors import InputError
from pipeline.pretrained import load_tokenizer, local_folder, resolve_model, resolve_package_path
from tests.adapters import save_adapter
from tests.tiny_model import save_tiny_model


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


@pytest.mark.parametrize(
    ("on_hub", "fetched"),
    [
        ({"model.safetensors", "pytorch_model.bin"}, {"model.safetensors"}),
        ({"pytorch_model.bin"}, {"pytorch_model.bin"}),
    ],
)
def test_weights_are_downloaded_in_one_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_hub: set[str], fetched: set[str]
) -> None:
    def download(model: str, *, allow_patterns: list[str]) -> str:
        for name in on_hub:
            if any(fnmatch.fnmatch(name, pattern) for pattern in allow_patterns):
                (tmp_path / name).touch()
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert {path.name for path in local_folder("org/name").iterdir()} == fetched


def test_a_folder_without_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be loaded"):
        load_tokenizer(str(tmp_path))


@pytest.fixture
def adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict]:
    """An adapter of the model in `base/`, and the weights that peft merges."""
    monkeypatch.setenv("IPT_CACHE", str(tmp_path / "cache"))
    return save_adapter(tmp_path / "adapter", save_tiny_model(tmp_path / "base"))


def test_an_adapter_is_merged_once(tmp_path: Path, adapter: tuple[Path, dict]) -> None:
    from safetensors.torch import load_file

    folder, expected = adapter
    merged = Path(resolve_model(str(folder)))
    assert merged.parent == tmp_path / "cache"
    found = load_file(merged / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6)
    (merged / "mark").touch()
    assert resolve_model(str(folder)) == str(merged)
    assert (merged / "mark").exists(), "merged a second time"
    config = folder / "adapter_config.json"
    config.write_text(config.read_text().replace('"lora_alpha": 12', '"lora_alpha": 24'))
    other = resolve_model(str(folder))
    assert other != str(merged)
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == sorted(
        [merged.name, Path(other).name]
    ), "something half-written is left"


def test_two_may_merge_at_once(
    tmp_path: Path, adapter: tuple[Path, dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = pretrained.write_merged

    def outrun(folder: Path, base: Path, partial: Path) -> None:
        monkeypatch.setattr(pretrained, "write_merged", write)
        resolve_model(str(folder))
        write(folder, base, partial)

    monkeypatch.setattr(pretrained, "write_merged", outrun)
    merged = Path(resolve_model(str(adapter[0])))
    assert pretrained.write_merged is write, "nobody was outrun"
    assert (merged / "model.safetensors").is_file()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [merged.name]


def test_a_folder_in_a_package_may_be_an_adapter_of_a_packaged_base(
    tmp_path: Path, adapter: tuple[Path, dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "packages" / "made_up"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (tmp_path / "base").rename(package / "base")
    config = json.loads((adapter[0] / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "package://made_up/base"
    (adapter[0] / "adapter_config.json").write_text(json.dumps(config))
    adapter[0].rename(package / "adapter")
    monkeypatch.syspath_prepend(str(package.parent))
    assert resolve_model("package://made_up/base") == str(package / "base")
    assert Path(resolve_model("package://made_up/adapter")).parent == tmp_path / "cache"
    tokenizer = load_tokenizer("package://made_up/adapter")
    assert tokenizer.get_vocab() == load_tokenizer(str(package / "base")).get_vocab()
    with pytest.raises(InputError, match="no such folder"):
        resolve_model("package://made_up/nothing")


def test_the_tokenizer_of_an_adapter_needs_no_merging(
    tmp_path: Path, adapter: tuple[Path, dict], tokenizer_folder: Path
) -> None:
    folder = adapter[0]
    assert load_tokenizer(str(folder)).name_or_path == str(tmp_path / "base")
    for path in tokenizer_folder.glob("tokenizer*"):
        shutil.copy(path, folder)
    assert load_tokenizer(str(folder)).name_or_path == str(folder)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("base", ["/no/such/folder", "./nowhere", "no-such-org/no-such-model"])
def test_a_missing_base_is_named(adapter: tuple[Path, dict], base: str) -> None:
    config = adapter[0] / "adapter_config.json"
    values = json.loads(config.read_text()) | {"base_model_name_or_path": base}
    config.write_text(json.dumps(values))
    with pytest.raises(InputError, match=f"base of the adapter {adapter[0]}: model '{base}'"):
        resolve_model(str(adapter[0]))
