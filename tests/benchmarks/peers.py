"""Environments for peers: their packages beside ours, which they may use but never change."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path
from typing import Any

_SHARED_MEMORY, _BUFFERS = Path("/dev/shm"), "deepspeed_*"
ROOT = Path(__file__).resolve().parents[2]


def peer_python(packages: list[str]) -> str:
    """Python of an environment with `packages` from PyPI over this one's; made once.

    What this environment has already (torch, numpy, datasets, ...) is used from here, so that both
    sides run on the same builds.
    """
    name = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"ipt-peers-{name}"
    python = folder / "bin" / "python"
    ready = folder / "ready"
    if not ready.exists():
        print(f"installing {', '.join(packages)} into {folder}", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        [site] = folder.glob("lib/python*/site-packages")
        (site / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        installed = subprocess.run(
            [*pip, "--no-deps", *packages], capture_output=True, text=True, check=False
        )
        if installed.returncode:
            sys.exit(f"pip install {' '.join(packages)} failed:\n{installed.stderr[-2000:]}")
        if "mosaicml-streaming" in packages and importlib.util.find_spec("torchvision") is None:
            _stand_in_for_torchvision(site)
        ready.touch()
    return str(python)


def _stand_in_for_torchvision(site: Path) -> None:
    """What streaming imports of torchvision, for image data sets that no benchmark here has.

    A torchvision that does not match torch breaks text models, so there may be none.
    """
    for name, content in {
        "__init__.py": "",
        "transforms/__init__.py": "",
        "transforms/functional.py": "to_tensor = None\n",
        "datasets/__init__.py": "class VisionDataset: ...\n",
    }.items():
        path = site / "torchvision" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def run_command(command: list[str], num_ranks: int) -> None:
    """Run a launcher's command to its end, each rank on its share of the cores."""
    threads = max(1, (os.cpu_count() or 1) // num_ranks)
    environment = dict(os.environ, PYTHONPATH=str(ROOT), PYTHONWARNINGS="ignore")
    environment |= {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": str(threads)}
    before = set(_SHARED_MEMORY.glob(_BUFFERS))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    for left in set(_SHARED_MEMORY.glob(_BUFFERS)) - before:  # 66 MiB a rank, see `join_ranks`
        left.unlink(missing_ok=True)
    if done.returncode:
        sys.exit(f"{' '.join(command[:5])} failed:\n{done.stdout[-999:]}{done.stderr[-3000:]}")


def run_side(python: str, script: Path, *arguments: str) -> dict[str, Any]:
    """Run one side in a process of its own; the last line that it prints is its result."""
    done = subprocess.run(
        [python, str(script), *arguments],
        env=dict(os.environ, PYTHONPATH=str(ROOT), PYTHONWARNINGS="ignore"),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = f"{done.stdout[-999:]}{done.stderr[-2000:]}"
        sys.exit(f"{' '.join([script.name, *arguments])} failed:\n{last}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result
