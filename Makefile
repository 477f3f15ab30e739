# Everything runs from .venv, which `setup` builds from pyproject.toml and the pins in constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# One seed for the long run, printed in the header of the test report; `make test-long SEED=...` repeats a run.
SEED ?= $(shell date +%s)

.PHONY: setup demo demo-serve test test-long lint docs bench litellm clean

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@echo "setting up $(VENV) from constraints.txt ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[dev,docs]'
	@touch $@

demo: setup
	$(BIN)/tallystick demo

# A server with two months of made-up usage, and its dashboard in the browser.
demo-serve: setup
	$(BIN)/tallystick demo --serve --events 300000

# Three workers for two cores: many tests wait for a server to start or a disk to sync. The longest come first.
test: setup
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-long: setup
	HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest -n 2 --dist loadfile -m 'long or not long' --hypothesis-seed=$(SEED)

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# The site in build/site, from docs/ and the application's own OpenAPI document. A broken link or anchor fails it.
docs: setup
	$(BIN)/python docs/making/api_reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

bench: setup
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/rating.py
	$(BIN)/python benchmarks/quota.py
	$(BIN)/python benchmarks/bill_run.py

# LiteLLM's proxy for tests/gateways, apart from the project: it needs other versions of the same libraries.
litellm: build/litellm/bin/litellm

build/litellm/bin/litellm: tests/gateways/litellm.txt
	@$(PYTHON) -m venv build/litellm
	@build/litellm/bin/python -m pip install -qq --requirement tests/gateways/litellm.txt
	@touch $@

clean:
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache dist
