# fastrelay: the two commands of a new user are `make demo` and `make test`; `make help` lists all.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -q
CONFIG ?= deploy/config/fastrelay.toml

.PHONY: build/compiled help demo run install dev lint check compiled interpreted test-compiled unit dialogues integration faults fuzz test proof soak fuzz-covered bench bench-quick clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: install ## relay 1,000 messages through a small internet on this machine, and account for each
	$(BIN)/fastrelay demo

run: install ## a relay in the foreground on 127.0.0.1:2525; Ctrl-C ends it
	$(BIN)/fastrelay serve -c $(CONFIG)

$(VENV)/installed: setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "fastrelay needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
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

compiled: dev interpreted ## the hot path compiled in place, with mypyc; `make interpreted` undoes it
	FASTRELAY_COMPILE=1 $(BIN)/python setup.py -q build_ext --inplace -j2

interpreted: ## no compiled modules: the sources as they are
	find fastrelay -name '*.so' -delete; rm -f *__mypyc*.so

# a copy of what is committed, so that no compiled module ever stands beside a source somebody edits
build/compiled: dev
	rm -rf build/compiled && mkdir -p build/compiled
	git archive HEAD | tar -x -C build/compiled
	test ! -e .peers || ln -s ../../.peers build/compiled/.peers
	cd build/compiled && FASTRELAY_COMPILE=1 ../../$(BIN)/python setup.py -q build_ext --inplace -j2

test-compiled: build/compiled ## the suite on a compiled copy of what is committed: two minutes more than `make test`
	cd build/compiled && PYTHONPATH=$(CURDIR)/build/compiled ../../$(PYTEST) tests

unit dialogues integration faults fuzz: dev
	$(PYTEST) tests/$@

# what mostly waits (processes, timeouts) runs beside what computes; the others' output comes when they have ended
test: lint ## the whole suite, under ten minutes on two cores
	@$(PYTEST) tests/unit tests/dialogues tests/fuzz -p no:cacheprovider > .test-quick.log 2>&1 & quick=$$!; \
	$(PYTEST) tests/faults -p no:cacheprovider > .test-faults.log 2>&1 & faults=$$!; \
	$(PYTEST) tests/integration; code=$$?; \
	wait $$quick || code=1; wait $$faults || code=1; \
	cat .test-quick.log .test-faults.log; rm -f .test-quick.log .test-faults.log; exit $$code

proof: dev ## the long proofs: kills, power loss, failing disks, attacks, overload, long queues, idle clients, upgrades
	$(BIN)/python tests/faults/kill_run.py
	$(BIN)/python tests/faults/kill_points.py --rounds 3
	$(BIN)/python tests/faults/kill_points.py --rounds 3 --victim worker
	$(BIN)/python tests/faults/power_run.py
	$(BIN)/python tests/faults/disk_run.py
	$(BIN)/python tests/proof/attacks.py
	$(BIN)/python tests/proof/overload.py
	$(BIN)/python tests/proof/backlog.py
	$(BIN)/python tests/proof/queue_million.py
	$(BIN)/python tests/proof/idle_connections.py
	$(BIN)/python tests/proof/upgrade.py

soak: dev ## an hour at 70 % load with faults at random
	$(BIN)/python tests/proof/soak.py --plot soak.svg

fuzz-covered: dev ## every fuzz test for a minute, led by coverage (atheris); keeps what it found in tests/fuzz/corpus
	$(BIN)/python -m pip install -q --disable-pip-version-check atheris
	$(BIN)/python tests/fuzz/covered.py

bench: dev ## every scenario, beside its rivals, at most an hour; bench/README.md tells the method
	$(BIN)/python bench/run.py full --at-most 60m --store

bench-quick: dev ## two minutes, before and after a change: make bench-quick JSON=before.json, AGAINST=before.json
	$(BIN)/python bench/run.py quick $(if $(JSON),--json $(JSON)) $(if $(AGAINST),--against $(AGAINST))

clean: ## everything that was built
	rm -rf $(VENV) build dist *.egg-info
