# `make demo` compiles and trains examples/quickstart.parc; `make test` runs the tests.

PYTHON ?= python3
VENV   ?= .venv
TORCH  ?= torch==2.13.0

# A worker begins with a half of the tests in their order: those of a file share what they have set up. Slow tests
# start up to 16 ranks each, and run one after another.
WORKERS ?= -n 2 --dist worksteal

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check

.PHONY: demo seed test slow lint clean

demo: $(VENV)/.torch
	$(BIN)/parc run examples/quickstart.parc --compare 20

# The mesh of the seed, 128 ranks, each a process: its model cut in width and depth, three steps in float64.
seed: $(VENV)/.torch
	$(BIN)/parc verify examples/seed.parc --rungs matching,numbers

test: $(VENV)/.dev
	$(BIN)/python -m pytest -q $(WORKERS)

slow: $(VENV)/.dev
	$(BIN)/python -m pytest -q -m slow

lint: $(VENV)/.dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

clean:
	rm -rf $(VENV) out dist

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "parc needs Python 3.11 or newer; name one with: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.torch: pyproject.toml | $(BIN)/python
	$(PIP) -e '.[torch]' '$(TORCH)'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/.torch
	$(PIP) -e '.[torch,dev]' '$(TORCH)'
	@touch $@
