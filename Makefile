# Everything lives in .venv; IPT_EXTRA=gpu chooses vLLM's CUDA build.
PYTHON ?= python3
IPT_EXTRA ?= cpu
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready-$(IPT_EXTRA)

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test lint types clean

help: ## show the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(READY) ## install everything into .venv

$(READY): pyproject.toml constraints-$(IPT_EXTRA).txt launch/setup.sh
	@PYTHON="$(PYTHON)" VENV="$(VENV)" EXTRA="$(IPT_EXTRA)" sh launch/setup.sh
	@touch $@

quickstart: $(READY) ## run the main job on a small default (minutes, no accelerator)
	@IPT_EXIT_WITH_PARENT=1 exec $(BIN)/ipt run quickstart

test: $(READY) ## run all tests, those on real Ray, vLLM and DeepSpeed included
	$(BIN)/python -m pytest

lint: $(READY) ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## mypy
	$(BIN)/mypy

clean: ## remove .venv and caches, not the runs
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
