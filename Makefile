# `make run` and `make test` do all set-up on a machine with nothing but Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find src scripts -type f -not -name '*.pyc') pyproject.toml
ROOT_STORE := build/store

.PHONY: help run test check bench sweep guests proto clean

help: ## Show what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

run: $(VENV)/installed ## Install Sampan, build an image from a guest, run it
	@$(BIN)/sampan --root $(CURDIR)/$(ROOT_STORE) build -q -t hello examples/01-hello
	@$(BIN)/sampan --root $(CURDIR)/$(ROOT_STORE) run --rm hello /hello.wasm from a Wasm container

test: $(VENV)/test-tools ## Set up what the tests need and run them all
	tests/setup
	$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

check: $(VENV)/check-tools ## Lint, types, and who may import whom
	$(BIN)/ruff format --check src tests bench examples
	$(BIN)/ruff check src tests bench examples
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/installed ## Measure against peers on this machine; prints ratios
	$(BIN)/python bench/run.py

sweep: $(VENV)/test-tools ## The long forms of the fault sweeps and races
	tests/setup
	SAMPAN_SWEEP=full SAMPAN_RACE_ROUNDS=10000 $(BIN)/python -m pytest --timeout 3600 $(PYTEST_ARGS)

guests: ## Build the guests of examples/ again (needs PyPI's ziglang)
	$(PYTHON) examples/build.py

proto: $(VENV)/test-tools ## Make the Python messages of CRI again from runtime.proto
	$(BIN)/python -m grpc_tools.protoc -Isrc --python_out=src --pyi_out=src src/sampan/doors/cri/api/runtime.proto

$(VENV)/pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sampan needs Python 3.11 or newer")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt hatchling
	@touch $@

$(VENV)/installed: $(VENV)/pip $(SOURCES)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt --no-build-isolation --force-reinstall --no-deps .
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt .
	@touch $@

$(VENV)/test-tools: $(VENV)/installed constraints.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -r tests/requirements.txt
	@touch $@

$(VENV)/check-tools: $(VENV)/test-tools
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt ruff mypy import-linter types-grpcio types-protobuf
	@touch $@

clean: ## Remove what was made
	rm -rf $(VENV) build
