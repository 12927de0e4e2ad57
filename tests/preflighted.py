"""Runs to look at before they begin, and disks that are full or not for writing."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from launch.preflight.subject import Subject, Where
from launch.references import any_run_of


def subject_of(reference: str, *overrides: str, **where: object) -> Subject:
    """What a preflight of a config or preset looks at."""
    return Subject(any_run_of(str(reference), list(overrides)), Where(**where))


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A mount at `folder` for the length of a block; skips the test where nobody may mount."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting needs privileges: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def full_disk(folder: Path) -> Iterator[Path]:
    """A disk of one MiB, without a free byte."""
    with mounted(folder, "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        command = ["dd", "if=/dev/zero", f"of={folder}/filler", "bs=4096"]
        subprocess.run(command, capture_output=True)
        yield folder


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """A disk that can be read alone, by root, too."""
    with mounted(folder, "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs"):
        yield folder
