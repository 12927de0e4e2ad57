"""Time and memory of the main job: `python tests/benchmarks/quickstart.py`.

Runs `ipt run quickstart` in a temporary folder, adds up the memory of all its processes
(proportional set size, so that shared pages count once) and ends in one JSON line; exit code 1 if
a bar is missed.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.bars import at_most, conclude

BAR_S, BAR_GIB = 600.0, 12.0
_SAMPLE_EVERY_S = 1.0


def descendants(root: int) -> set[int]:
    """Process ids below `root`, itself included."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found = {root}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def memory_gib(processes: set[int]) -> float:
    """Proportional set size of the processes together."""
    total_kib = 0
    for process in processes:
        try:
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        total_kib += next(int(line.split()[1]) for line in rollup.splitlines() if "Pss:" in line)
    return total_kib / 2**20


def main() -> int:
    """Measure one run."""
    folder = Path(tempfile.mkdtemp(prefix="ipt-benchmark-")) / "run"
    ipt = str(Path(sys.executable).with_name("ipt"))
    started, peak_gib = time.monotonic(), 0.0
    process = subprocess.Popen([ipt, "run", "quickstart", f"run.dir={folder}"])
    while process.poll() is None:
        peak_gib = max(peak_gib, memory_gib(descendants(process.pid)))
        time.sleep(_SAMPLE_EVERY_S)
    wall_s = time.monotonic() - started
    audit = subprocess.run([ipt, "audit", str(folder)], capture_output=True, text=True)
    shutil.rmtree(folder.parent)
    return conclude(
        "quickstart",
        {
            "wall_s": at_most(wall_s, BAR_S),
            "peak_memory_gib": at_most(peak_gib, BAR_GIB),
            "exit_code": at_most(process.returncode, 0),
            "audit_exit_code": at_most(audit.returncode, 0),
        },
    )


if __name__ == "__main__":
    sys.exit(main())
