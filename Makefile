# Everything a developer runs. `make` alone lists the targets.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

BIN := .venv/bin
STAMP := .venv/.installed
# where Python is told not to keep bytecode, each process of a test compiles our packages anew
unexport PYTHONDONTWRITEBYTECODE
PACKAGES := domain activities workflows providers store gateway starter runtime sandbox
# uv where there is a working one; else our own, pinned by hash, in a directory that git ignores
UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .rapport/tools/bin/uv)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

.PHONY: setup
setup: $(STAMP) ## make .venv with everything, pinned by hash (seconds when nothing changed)

.rapport/tools/bin/uv: requirements-uv.lock
	@echo "there is no uv on the PATH: getting our own into .rapport/tools"
	@python3 -m venv --clear .rapport/tools || { echo "python3 cannot make virtual environments: install uv, or your system's python3-venv package, and start again" >&2; exit 1; }
	.rapport/tools/bin/pip install --quiet --require-hashes -r requirements-uv.lock
	@touch $@

# The project itself is installed editable, without dependencies and without an isolated build: its build backend is
# in requirements-dev.lock, so nothing is fetched that is not pinned. All else is compiled here, once: where Python may
# not write bytecode, every process would compile what it imports anew, which takes it seconds.
$(STAMP): requirements-dev.lock pyproject.toml $(filter .rapport/%,$(UV))
	@test -x $(BIN)/python || $(UV) venv --quiet --python '>=3.11' .venv
	@echo "installing what requirements-dev.lock pins (about a minute the first time)"
	$(UV) pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements-dev.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: demo
demo: $(STAMP) server ## run everything on this machine and carry engagements to their outcomes
	@$(BIN)/rapport demo

.PHONY: server
server: $(STAMP) ## find or build the Temporal dev server (minutes, once for a user)
	@$(BIN)/python -m runtime.temporal_binary

.PHONY: temporal-server
temporal-server: ## build the Temporal server for PostgreSQL, which tests of the production shape use
	@deploy/build-temporal-server.sh

.PHONY: temporal
temporal: $(STAMP) ## run a Temporal dev server with UI on 127.0.0.1:7233 until Ctrl-C
	@$(BIN)/python -m runtime.serve_temporal

.PHONY: test
test: $(STAMP) server ## every test but the long ones
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not long"

.PHONY: test-long
test-long: $(STAMP) server ## the tests that make test leaves out
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m long

.PHONY: screenshots
screenshots: $(STAMP) server ## make the pictures of docs/audit.md anew (needs Chromium)
	@$(BIN)/python -m tests.ui.screenshots

ENGAGEMENTS ?= 200
KILLS ?= 30
.PHONY: chaos
chaos: $(STAMP) server ## crash everything at its barriers (ENGAGEMENTS, KILLS, SEED, CHAOS="--postgres --gateways 2")
	@$(BIN)/python -m tests.chaos.run --engagements $(ENGAGEMENTS) --kills $(KILLS) $(if $(SEED),--seed $(SEED)) $(CHAOS)

BENCH ?=
.PHONY: bench
bench: $(STAMP) server ## measure side by side with what others would build (BENCH="lives costs", QUICK=1)
	@$(BIN)/python -m bench $(if $(QUICK),--quick) $(BENCH)

# What only the other sides are made of, in a place of its own: nothing of it is ever part of the product.
OTHERS := $(or $(RAPPORT_BENCH_OTHERS),.rapport/bench)
.PHONY: bench-others
bench-others: $(OTHERS)/.installed ## install DBOS and Restate for make bench, pinned by hash (needs npm)

$(OTHERS)/.installed: bench/lives/others.lock bench/restate_side/package.json bench/restate_side/package-lock.json $(filter .rapport/%,$(UV))
	@command -v npm >/dev/null || { echo "there is no npm: it gets Restate's server; install Node.js and start again" >&2; exit 1; }
	@test -x $(OTHERS)/bin/python || $(UV) venv --quiet --python '>=3.11' $(OTHERS)
	$(UV) pip sync --quiet --compile-bytecode --python $(OTHERS)/bin/python --require-hashes bench/lives/others.lock
	@cp bench/restate_side/package.json bench/restate_side/package-lock.json $(OTHERS)
	npm ci --prefix $(OTHERS) --ignore-scripts --no-audit --no-fund
	@touch $@

.PHONY: check
check: $(STAMP) ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(STAMP) ## put style right where a tool can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# UPGRADE=--upgrade takes the newest versions that pyproject.toml allows.
.PHONY: lock
lock: ## write the lock files anew from pyproject.toml
	$(UV) pip compile pyproject.toml --quiet --universal --generate-hashes --no-header $(UPGRADE) -o requirements.lock
	$(UV) pip compile pyproject.toml --quiet --group dev -c requirements.lock --universal --generate-hashes --no-header $(UPGRADE) -o requirements-dev.lock
