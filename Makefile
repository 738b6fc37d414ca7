# make demo         the main job offline, from the untouched model to results/demo/report.html
# make test         everything that must hold: `make check`, then the tests
# make test-slow    the tests that take more than a few seconds each
# make test-newest  the tests with the newest versions of everything, in an environment of its own
# make check        format, lint, types, import contracts, house measures
# make lock         renew the lock: the newest versions that pyproject.toml allows
#
# Each target sets up its environment by itself, once: .venv holds exactly what the lock (lock/*.txt) names.
# pip's own settings (PIP_INDEX_URL, PIP_FIND_LINKS, pip.conf) are honoured.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NEWEST := .venv-newest
LOCKER := .venv-lock
# What `make lock` pins: a release that has a build for the CPU alone, which pip takes wherever it can see it.
TORCH ?= torch==2.13.0
# What `make test-newest` installs; TORCH_NEWEST=torch==2.13.0 spares a machine without a GPU the CUDA packages.
TORCH_NEWEST ?= torch
# Tests run on every core, the tests of one file on the same one, since they share what they built.
SPREAD := -n auto --dist loadfile
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-slow test-newest check lock clean

demo: $(VENV)/.demo
	$(BIN)/holdfast demo

test: check
	$(BIN)/pytest $(SPREAD)

test-slow: $(VENV)/.test
	$(BIN)/pytest $(SPREAD) -m slow --timeout=1800

# What a third party deprecates is listed at the end and fails nothing; every other warning is an error, as in `make test`.
test-newest: $(NEWEST)/bin/python
	$(NEWEST)/bin/python -m pip install --quiet --upgrade $(TORCH_NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager $(TORCH_NEWEST) -e ".[dev]" hatchling
	$(NEWEST)/bin/pytest $(SPREAD) -W default::DeprecationWarning -W default::PendingDeprecationWarning -W default::FutureWarning

check: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest tests/test_house.py

lock: $(LOCKER)/bin/python
	$(LOCKER)/bin/python -m pip install --quiet --upgrade uv
	$(LOCKER)/bin/python lock/renew.py "$(TORCH)"

clean:
	rm -rf $(VENV) $(NEWEST) $(LOCKER) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

%/bin/python:
	@command -v $(PYTHON) > /dev/null || { echo "error: no $(PYTHON) here; install Python 3.11 or newer, or set PYTHON=…" >&2; exit 3; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1), 3.11 or newer is needed (set PYTHON=…)" >&2; exit 3; }
	$(PYTHON) -m venv $*

# lock/demo.txt is a part of lock/test.txt, so an environment for the tests also runs the demo.
$(VENV)/.demo: pyproject.toml lock/demo.txt lock/torch.txt | $(BIN)/python
	@echo "Installing into $(VENV): once, a few minutes."
	$(BIN)/python lock/install.py lock/demo.txt
	@touch $@

$(VENV)/.test: pyproject.toml lock/test.txt lock/torch.txt | $(BIN)/python
	@echo "Installing into $(VENV): once, a few minutes."
	$(BIN)/python lock/install.py lock/test.txt
	@touch $@ $(VENV)/.demo
