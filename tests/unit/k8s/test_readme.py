"""What k8s/README.md tells a platform engineer to type works, and what it names is there."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch.cli import app
from launch.references import find_config
from tests.manifests import K8S, ROOT, build, needs_kubectl, pod_templates

TEXT = (K8S / "README.md").read_text("utf-8")
COMMANDS = re.findall(r"^ipt (k8s render .+)$", TEXT.replace("\\\n", " "), re.MULTILINE)
FACTORS = {"m": 0.001, "Gi": 1.0, "Mi": 1 / 1024, "": 1.0}


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_are_accepted(command: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(find_config("quickstart"), "my.toml")
    done = CliRunner().invoke(app, [*shlex.split(command), "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "would write deploy" in done.output


def test_it_shows_commands() -> None:
    assert len(COMMANDS) >= 3


def test_folders_and_files_that_it_names_exist() -> None:
    tree = TEXT.split("## Where things are")[1]
    for name in re.findall(r"\b([a-z]+)/ ", tree):
        assert (K8S / name).is_dir(), name
    for name in re.findall(r"`((?:base|storage|monitoring)/[\w./-]+\.yaml)`", TEXT):
        assert (K8S / name).is_file(), name
    for name in re.findall(r"kubectl apply -k (k8s/\S+?)`", TEXT):
        assert (ROOT / name / "kustomization.yaml").is_file(), name
    components = tree.split("components/")[1].split("\n")[0]
    for path in (K8S / "components").iterdir():
        assert path.name in components, path.name


def quantity(text: str) -> float:
    """Cores, or GiB."""
    match = re.fullmatch(r"([\d.]+)(m|Gi|Mi|)", text)
    assert match is not None, text
    return float(match[1]) * FACTORS[match[2]]


@needs_kubectl
def test_the_dev_overlay_fits_the_node_that_it_names() -> None:
    said = re.search(r"no accelerator, (\d+) cores and (\d+) GiB free", TEXT)
    assert said is not None
    for stage in ("ingest", "synth", "filter", "pack", "train", "export"):
        asked = [
            container["resources"]["requests"]
            for resource in build(K8S / "overlays" / "dev" / stage)
            for _, template in pod_templates(resource)
            for container in template["spec"]["containers"]
        ]
        assert sum(quantity(each["cpu"]) for each in asked) <= int(said[1]), stage
        assert sum(quantity(each["memory"]) for each in asked) <= int(said[2]), stage
