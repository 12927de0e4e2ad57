"""What this project depends on: as pinned, complete, of known licences, without known holes.

    python -m tests.dependency_audit        exit code 1 if anything is wrong

Pins, requirements and licences are looked up in what is installed, without a network. Known
vulnerabilities come from the advisory service of the package index, by pip-audit; where that is out
of reach, this is said, and is no failure. What is accepted, and why, stands in
`dependency_audit.toml`.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
_ACCEPTED = Path(__file__).with_suffix(".toml")
_PROBED = "requests"
_TIMEOUT_S = 300
# Licences that ask for little more than to be passed on, by the names that packages give them.
_PERMISSIVE = re.compile(
    r"(MIT|MIT-0|MIT-CMU|0BSD|BSD|ISC|PSF|Apache|Python Software Foundation|Unlicense|CC0|BSL-1\.0"
    r"|CNRI-Python|AFL|Academic Free|MPL|Mozilla|LLVM-exception|3-Clause BSD)",
    re.I,
)
_COPYLEFT = re.compile(r"\b[AL]?GPL|General Public|Proprietary|Commercial", re.I)

Audit = Callable[[Mapping[str, str]], list[dict[str, Any]] | None]


@dataclass(frozen=True)
class Accepted:
    """What would be a problem, by what it is about, and why it is none."""

    vulnerabilities: Mapping[str, str]
    licences: Mapping[str, str]
    missing: Mapping[str, str]


def read_accepted() -> Accepted:
    """The content of `dependency_audit.toml`."""
    return Accepted(**tomllib.loads(_ACCEPTED.read_text("utf-8")))


def read_pins(path: Path) -> dict[str, str]:
    """Version by canonical name of each `NAME==VERSION` of a constraints file."""
    lines = (line.partition("#")[0].partition(";")[0] for line in path.read_text().splitlines())
    pinned = (line.strip().split("==") for line in lines if "==" in line)
    return {canonicalize_name(name): version for name, version in pinned}


def installed() -> dict[str, Distribution]:
    """Installed distributions by canonical name."""
    return {canonicalize_name(each.metadata["Name"]): each for each in distributions()}


def pin_problems(pins: Mapping[str, str], found: Mapping[str, Distribution]) -> Iterator[str]:
    """Pinned packages that are there in another version."""
    for name in sorted(pins.keys() & found.keys()):
        version = found[name].version
        if Version(version).public != Version(pins[name]).public:
            yield f"{name} {version} is installed, {pins[name]} is pinned: run `make clean setup`"


def requirement_problems(
    names: Sequence[str], found: Mapping[str, Distribution], accepted: Mapping[str, str]
) -> Iterator[str]:
    """What packages require that is not there, or there in a version that does not fit."""
    for name in names:
        for text in found[name].requires or []:
            wanted = Requirement(text)
            if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
                continue
            key = canonicalize_name(wanted.name)
            if key not in found:
                if f"{name} {key}" not in accepted:
                    yield f"{name} requires {text}, which is not installed"
            elif not wanted.specifier.contains(found[key].version, prereleases=True):
                yield f"{name} requires {text}, and {found[key].version} is installed"


def licence_of(package: Distribution) -> str:
    """The licence that a package says it has."""
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classifiers = metadata.get_all("Classifier") or []
    named = [each.rpartition("::")[2].strip() for each in classifiers if each.startswith("License")]
    named = [each for each in named if each not in ("OSI Approved", "DFSG approved")]
    text = str(metadata.get("License") or "").strip()
    return ", ".join(named) or (text.splitlines()[0] if text else "none given")


def licence_problems(
    names: Sequence[str], found: Mapping[str, Distribution], accepted: Mapping[str, str]
) -> Iterator[str]:
    """Packages whose licence is not known to be permissive."""
    for name in names:
        licence = licence_of(found[name])
        is_known = _PERMISSIVE.search(licence) and not _COPYLEFT.search(licence)
        if not is_known and not any(fnmatch(name, pattern) for pattern in accepted):
            yield f"{name}: licence {licence!r}; accept it in {_ACCEPTED.name}, or do without it"


def vulnerability_problems(
    pins: Mapping[str, str], accepted: Mapping[str, str], audit: Audit
) -> tuple[list[str], str]:
    """Known vulnerabilities of pinned versions, and a line that says what was looked at."""
    probe = audit({_PROBED: pins[_PROBED]})
    if not probe or "skip_reason" in probe[0]:
        return [], "NOT AUDITED: the advisory service is out of reach from here"
    answers = audit(pins) or []
    audited = [each for each in answers if "skip_reason" not in each]
    problems, seen = [], set[str]()
    for package in audited:
        for hole in package["vulns"]:
            names = {hole["id"], *hole.get("aliases", ())}
            seen |= names
            if names.isdisjoint(accepted):
                fixed = ", ".join(hole.get("fix_versions") or ["no version"])
                problems.append(
                    f"{package['name']} {package['version']}: {hole['id']}, mended in {fixed}"
                )
    gone = sorted(accepted.keys() - seen)
    problems += [f"{name}: accepted in {_ACCEPTED.name}, but no longer found" for name in gone]
    return problems, f"{len(audited)} of {len(pins)} pins audited for known vulnerabilities"


def run_pip_audit(pins: Mapping[str, str]) -> list[dict[str, Any]] | None:
    """What pip-audit says of each pin; None if it cannot be had."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(f"{name}=={version}\n" for name, version in pins.items()))
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "-r", file.name, "--no-deps", "--disable-pip"]
        try:
            done = subprocess.run(
                [*command, "--format", "json", "--progress-spinner", "off", "--timeout", "5"],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
            found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
        except (ValueError, subprocess.TimeoutExpired):
            return None
    return found


def main() -> int:
    """Look at everything; print what is wrong."""
    found, accepted = installed(), read_accepted()
    kind = "gpu" if "vllm" in found else "cpu"
    pins = read_pins(ROOT / f"constraints-{kind}.txt")
    names = sorted(pins.keys() & found.keys())
    holes, audited = vulnerability_problems(pins, accepted.vulnerabilities, run_pip_audit)
    problems = [
        *pin_problems(pins, found),
        *requirement_problems(names, found, accepted.missing),
        *licence_problems(names, found, accepted.licences),
        *holes,
    ]
    print("\n".join(f"problem: {problem}" for problem in problems) or "no problem found")
    print(f"dependencies: {len(names)} of {len(pins)} pins installed; {audited}")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
