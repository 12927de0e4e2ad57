"""Folders of arms that are links to those of other arms."""

import shutil
from pathlib import Path

import pytest

from launch.experiment.folders import ExperimentFolder, link_folder, own_folder
from pipeline.errors import InputError


def test_places() -> None:
    folder = ExperimentFolder("/x")
    assert folder.training("rules", 3).rows == "/x/rules/seed-3/rows"
    assert folder.data("rules").documents == "/x/rules/data/documents"
    assert folder.heldout.rows == "/x/heldout/rows"


def test_a_link_moves_with_the_experiment(tmp_path: Path) -> None:
    target = tmp_path / "x" / "a" / "data" / "rows"
    target.mkdir(parents=True)
    (target / "manifest.json").write_text("{}")
    link = tmp_path / "x" / "b" / "data" / "rows"
    for _ in range(2):
        link_folder(str(link), str(target))
    shutil.move(tmp_path / "x", tmp_path / "y")
    assert (tmp_path / "y/b/data/rows/manifest.json").read_text() == "{}"


def test_a_link_follows_the_settings(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    link = tmp_path / "c"
    link_folder(str(link), str(tmp_path / "a"))
    link_folder(str(link), str(tmp_path / "b"))
    assert link.resolve() == tmp_path / "b"
    own_folder(str(link))
    assert not link.exists()
    assert (tmp_path / "b").exists()


def test_work_of_its_own_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    with pytest.raises(InputError, match="made with settings of its own"):
        link_folder(str(tmp_path / "own"), str(tmp_path / "other"))
    own_folder(str(tmp_path / "own"))
    assert (tmp_path / "own").is_dir()
