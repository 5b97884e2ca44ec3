# Two commands do everything: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Hundreds of processes start in the tests: what one has compiled, the next need not.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-all gpu quick lint env clean lock stack stack-down

demo: $(VENV)/.installed
	@$(BIN)/emolake demo

# The types are checked meanwhile: now and then a test waits for a process to start.
test: $(VENV)/.installed-dev quick
	@$(BIN)/mypy > $(VENV)/mypy.txt & types=$$!; $(BIN)/python -m pytest -q -n 2; tests=$$?; \
	wait $$types || { cat $(VENV)/mypy.txt; exit 1; }; exit $$tests

# Everything that is slow, and then a hundred and ten disturbed builds, which are counted into RELIABILITY.md.
test-all: test
	@$(BIN)/python -m pytest -q -n 2 -m 'slow or hypothesis' --hypothesis-profile=thorough; tests=$$?; \
	PYTHONPATH=. $(BIN)/python benchmarks/reliability.py --rounds 110 || exit 1; exit $$tests

# Speed, memory and difference of two runs of each system on a GPU, into BENCHMARKS.md; without one it says so.
gpu: $(VENV)/.installed
	@PYTHONPATH=. $(BIN)/python benchmarks/gpu.py

# Prefect on PostgreSQL, an S3 store and a worker, in containers (COMPOSE_PROFILES=lineage: and Marquez).
stack:
	@$(PYTHON) -P infra/stack.py

stack-down:
	@$(PYTHON) -P infra/stack.py down

# The quick part, also run by pre-commit: style and import contracts.
quick: $(VENV)/.installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports

env: $(VENV)/.installed-dev

# torch first, at the pinned version: nothing after it may pull another build.
$(VENV)/.installed: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Emolake needs Python 3.11 or newer: make demo PYTHON=/path/to/python"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the pinned dependencies into $(VENV) (once; a few minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

# Writes constraints.txt from what this environment holds; run it in a fresh one after changing pyproject.toml.
lock: env
	@$(BIN)/python -m pip freeze --exclude-editable --disable-pip-version-check | sed -e 's/+cpu$$//' -e '/^nvidia-/d;/^triton==/d;/^cuda-/d;/^uv==/d' > constraints.txt

clean:
	rm -rf lake sandbox
