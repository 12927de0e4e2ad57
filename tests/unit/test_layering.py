"""Who may import whom: the table in CONTRIBUTING.md, held against the code."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "pipeline": {"pipeline"},
    "synth": {"synth", "pipeline"},
    "train": {"train", "pipeline"},
    "launch": {"launch", "pipeline", "synth", "train"},
}


def imported_packages(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_only_what_they_may(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        ours = imported_packages(file) & ALLOWED.keys()
        assert ours <= ALLOWED[package], f"{file} imports {sorted(ours - ALLOWED[package])}"


@pytest.mark.parametrize("package", [*ALLOWED, "tests"])
def test_files_stay_small(package: str) -> None:
    for file in (ROOT / package).rglob("*.py"):
        assert len(file.read_text().splitlines()) <= 400, file
