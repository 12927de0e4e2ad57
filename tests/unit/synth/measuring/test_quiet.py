"""What libraries say goes into a file, what Python prints does not."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import os, subprocess, sys
from synth.measuring.quiet import libraries_write_to
print("before")
with libraries_write_to(sys.argv[1]):
    print("progress")
    os.write(1, b"noise\\n")
    print("complaint", file=sys.stderr)
    subprocess.run(["echo", "child"], check=True)
print("after")
print("error", file=sys.stderr)
"""


def test_only_what_python_prints_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "new" / "engine.log"
    command = [sys.executable, "-c", SCRIPT, str(log)]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == "before\nprogress\nafter\n"
        assert done.stderr == "error\n"
    assert log.read_text() == "noise\ncomplaint\nchild\n" * 2
