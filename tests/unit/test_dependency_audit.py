"""The audit of dependencies finds what it should, and does not take silence for a clean answer."""

import subprocess
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest

from tests import dependency_audit as audit


class Package(Distribution):
    """A distribution that says of itself what it is told to."""

    def __init__(self, version: str, metadata: str = "", requires: str = "") -> None:
        self._text = f"Metadata-Version: 2.1\nName: x\nVersion: {version}\n{metadata}{requires}\n"

    def read_text(self, filename: str) -> str | None:
        return self._text if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Path:
        return Path(path)


PINS = {"requests": "2.0", "torch": "2.13.0"}
HOLE = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2.1"]}


def answers(pins: Any) -> list[dict[str, Any]]:
    found = [{"name": name, "version": version, "vulns": []} for name, version in pins.items()]
    if "torch" in pins:
        found[1]["vulns"] = [HOLE]
    return found


def test_a_known_hole_is_a_problem_unless_it_is_accepted() -> None:
    problems, line = audit.vulnerability_problems(PINS, {}, answers)
    assert problems == ["torch 2.13.0: PYSEC-1, mended in 2.1"]
    assert line == "2 of 2 pins audited for known vulnerabilities"
    for name in ("PYSEC-1", "CVE-1"):
        assert audit.vulnerability_problems(PINS, {name: "why"}, answers)[0] == []
    problems, _ = audit.vulnerability_problems(PINS, {"CVE-1": "why", "CVE-2": "why"}, answers)
    assert problems == ["CVE-2: accepted in dependency_audit.toml, but no longer found"]


@pytest.mark.parametrize("answer", [None, [{"name": "requests", "skip_reason": "not found"}]])
def test_a_service_out_of_reach_is_said_and_asked_once(answer: Any) -> None:
    asked = []

    def silent(pins: Any) -> Any:
        asked.append(pins)
        return answer

    problems, line = audit.vulnerability_problems(PINS, {"CVE-1": "why"}, silent)
    assert problems == []
    assert line.startswith("NOT AUDITED")
    assert asked == [{"requests": "2.0"}]


def test_pip_audit_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    said = '{"dependencies": [{"name": "torch", "version": "2.13.0", "vulns": []}], "fixes": []}'
    done = subprocess.CompletedProcess([], 0, said, "")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_options: done)
    assert audit.run_pip_audit(PINS) == [{"name": "torch", "version": "2.13.0", "vulns": []}]
    done.stdout = "no network"
    assert audit.run_pip_audit(PINS) is None


def test_what_is_installed_is_what_is_pinned(tmp_path: Path) -> None:
    (tmp_path / "pins.txt").write_text("# tested\nTorch==2.13.0\nA_b==1 ; python_version > '3'\n")
    pins = audit.read_pins(tmp_path / "pins.txt")
    assert pins == {"torch": "2.13.0", "a-b": "1"}
    assert list(audit.pin_problems(pins, {"torch": Package("2.13.0+cpu"), "c": Package("1")})) == []
    (problem,) = audit.pin_problems(pins, {"a-b": Package("2")})
    assert "a-b 2 is installed, 1 is pinned" in problem


def test_requirements_are_there() -> None:
    wanted = "Requires-Dist: torch>=2\nRequires-Dist: none; extra == 'x'\nRequires-Dist: gone\n"
    found = {"a": Package("1", requires=wanted), "torch": Package("1.9")}
    problems = list(audit.requirement_problems(["a"], found, {}))
    assert problems == [
        "a requires torch>=2, and 1.9 is installed",
        "a requires gone, which is not installed",
    ]
    assert len(list(audit.requirement_problems(["a"], found, {"a gone": "why"}))) == 1


@pytest.mark.parametrize(
    ("metadata", "is_fine"),
    [
        ("License-Expression: Apache-2.0 AND MIT\n", True),
        ("Classifier: License :: OSI Approved :: BSD License\n", True),
        ("License: MIT\n", True),
        ("License-Expression: GPL-3.0\n", False),
        ("License-Expression: LGPL-2.1-only OR MIT\n", False),
        ("Classifier: License :: Other/Proprietary License\n", False),
        ("", False),
    ],
)
def test_a_licence_is_known(metadata: str, is_fine: bool) -> None:
    found = {"a": Package("1", metadata)}
    assert (list(audit.licence_problems(["a"], found, {})) == []) == is_fine
    assert list(audit.licence_problems(["a"], found, {"a*": "why"})) == []
