# The workshop of halo-forge. Everything is installed into .venv, nothing anywhere else.
#
#   make demo     install, then run the main job on the built-in model and tasks
#   make test     install what the tests need, then run them     ARGS="tests/unit -k selection"
#   make check    lint, formatting, types, import contracts, house rules, documents
#   make docs     the documents as a site, in build/docs
#   make fix      let the linter and the formatter mend what they can
#   make clean    remove .venv and the tools' caches
#
#   PYTHON=python3.12    the interpreter that .venv is made from (3.11 or newer)
#   TORCH=system         use the torch that PYTHON already has (ROCm, CUDA); remembered in .venv

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH ?= $(shell cat $(VENV)/.torch 2>/dev/null || echo pinned)
PIP := PIP_CONSTRAINT=$(VENV)/constraints.txt PIP_BUILD_CONSTRAINT=$(VENV)/constraints.txt \
       PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip

.PHONY: demo test check docs fix clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	$(BIN)/halo-forge demo $(ARGS)

test: $(VENV)/.workshop
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.workshop
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.check

docs: $(VENV)/.workshop
	$(BIN)/python -m sphinx -q -W --keep-going docs build/docs

fix: $(VENV)/.workshop
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

# Each stamp below is written last, so an interrupted step is done again.

$(VENV)/.workshop: $(VENV)/.installed
	$(PIP) install --group test --group lint --group docs
	@touch $@

$(VENV)/.installed: $(VENV)/constraints.txt pyproject.toml
	$(PIP) install --upgrade pip
	$(PIP) install --editable '.[train]'
	@touch $@

$(VENV)/constraints.txt: constraints.txt $(VENV)/.made-$(TORCH)
	@sh tools/constraints.sh '$(TORCH)' $(BIN)/python >$@

$(VENV)/.made-%:
	@sh tools/venv.sh '$*' '$(PYTHON)' $(VENV)
	@touch $@
