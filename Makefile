# One word per chore. `make run` and `make test` are all a newcomer needs; both make the environment first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8501
SHELL := /bin/bash

.DEFAULT_GOAL := help
.PHONY: help install install-dev run demo test test-slow lint format bench lock clean

help:  ## what can be asked for
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(VENV)/.installed  ## make the environment at .venv

install-dev: $(VENV)/.installed-dev

run: install  ## serve the dashboard on port 8501, with drawn demo buckets if none is configured
	@if [ -z "$$VISREC_BUCKETS$$BUCKET$$ENDPOINT_URL" ] && [ ! -e .env ] && ! ls -d buckets/*/ >/dev/null 2>&1; then \
	  echo "visrec: no bucket is configured; drawing the two demo buckets"; $(BIN)/visrec demo; fi
	@echo "visrec: serving the dashboard on http://localhost:$(PORT) (Ctrl+C stops it)"
	@exec $(BIN)/visrec app --port $(PORT)

demo: install  ## draw the two demo buckets into buckets/
	$(BIN)/visrec demo

test: install-dev  ## every test but the slow proofs (at most 10 minutes on two cores)
	@echo "visrec: running the tests"
	$(BIN)/python -m pytest -n 2 --dist loadgroup

test-slow: install-dev  ## the slow proofs: kills, simulations (at most 40 minutes)
	@echo "visrec: running the slow proofs"
	$(BIN)/python -m pytest -m slow

lint: install-dev  ## ruff, with formatting checked
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install-dev  ## the benchmarks that need no real data
	for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

lock: install-dev  ## pin requirements.in and requirements-dev.in anew
	$(BIN)/uv pip compile requirements.in -o requirements.txt --python-version 3.11 --no-header -q
	$(BIN)/uv pip compile requirements-dev.in -o requirements-dev.txt --python-version 3.11 --no-header -q

clean:  ## remove the environment and what builds left; buckets, runs and caches stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "visrec: needs Python 3.11 or newer; found $$($(PYTHON) --version). Name one: make install PYTHON=/path/to/python3.11"; exit 2; }
	@echo "visrec: making the environment at $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt pyproject.toml | $(VENV)/bin/python
	@echo "visrec: installing what the dashboard and training need (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@echo "visrec: installing what the tests need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
