# fastrelay: the two commands of a new user are `make demo` and `make test`; `make help` lists all.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -q

.PHONY: help install dev lint check unit dialogues integration faults test clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(VENV)/installed: setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	touch $@

$(VENV)/developing: $(VENV)/installed setup.py
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	touch $@

install: $(VENV)/installed ## the environment in .venv with fastrelay in it

dev: $(VENV)/developing ## the same with the tools for tests

lint: dev ## format, lint, types
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	$(BIN)/mypy

check: lint ## the gate before a commit: lint, unit tests, import order
	$(PYTEST) tests/unit

unit dialogues integration faults: dev
	$(PYTEST) tests/$@

test: lint ## the whole suite, under ten minutes on two cores
	$(PYTEST) tests

clean: ## everything that was built
	rm -rf $(VENV) build dist *.egg-info
