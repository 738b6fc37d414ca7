# make demo       the main job offline, from the untouched model to results/demo/report.html
# make test       everything that must hold: `make check`, then the tests
# make test-slow  the tests that take more than a few seconds each
# make check      format, lint, types, import contracts, house measures
#
# Each target sets up .venv by itself, once.  pip's own settings (PIP_INDEX_URL, PIP_FIND_LINKS, pip.conf) are honoured.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Pinned first, by itself: where pip can see a build for the CPU alone it has the higher version and is taken.
TORCH := torch==2.13.0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-slow check clean

demo: $(VENV)/.runtime
	$(BIN)/holdfast demo

test: check
	$(BIN)/pytest

test-slow: $(VENV)/.dev
	$(BIN)/pytest -m slow --timeout=1800

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest tests/test_house.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/python:
	@command -v $(PYTHON) > /dev/null || { echo "error: no $(PYTHON) here; install Python 3.11 or newer, or set PYTHON=…" >&2; exit 3; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1), 3.11 or newer is needed (set PYTHON=…)" >&2; exit 3; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.torch: | $(BIN)/python
	@echo "Installing into $(VENV): once, a few minutes."
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	@touch $@

$(VENV)/.runtime: pyproject.toml $(VENV)/.torch
	$(BIN)/python -m pip install --quiet -e .
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.torch
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	@touch $@ $(VENV)/.runtime
