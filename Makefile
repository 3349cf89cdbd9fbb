# What a newcomer and CI run. Everything is installed into .venv, nothing outside of this folder.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_JOBS ?= 2
NATIVE := $(shell find ext -type f) $(wildcard tests/native/*.pyx) setup.py pyproject.toml

.PHONY: demo test lint fuzz prove bench build clean

demo: $(VENV)/.installed
	$(BIN)/hashsieve demo

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -q -n $(PYTEST_JOBS) tests

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check engine tests bench setup.py
	$(BIN)/ruff format --check engine tests bench setup.py
	$(BIN)/mypy

fuzz: $(VENV)/.installed-test
	tests/asan.sh

prove: $(VENV)/.installed-test
	$(BIN)/python bench/prove.py

bench: $(VENV)/.installed-test
	$(BIN)/python -m pytest -q -o python_files='*_micro.py' bench/micro --benchmark-json=build/bench-micro.json

build: $(VENV)/.installed-test
	$(BIN)/python -m pip install -q build
	$(BIN)/python -m build --outdir dist .

# One environment; a later stamp implies the earlier one. Editable, so that Python edits count at once; any edit of native
# code is newer than the stamp and builds again.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q --upgrade pip

$(VENV)/.installed: $(VENV)/bin/python $(NATIVE)
	$(BIN)/python -m pip install -q -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/bin/python $(NATIVE)
	HASHSIEVE_TEST_MODULES=1 $(BIN)/python -m pip install -q -e '.[test]'
	touch $(VENV)/.installed $@

$(VENV)/.installed-lint: $(VENV)/.installed-test
	$(BIN)/python -m pip install -q --group lint
	touch $@

clean:
	rm -rf $(VENV) build dist engine/*.egg-info
	find engine -name '*.so' -delete
