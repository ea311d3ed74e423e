# Everything is reached from here; `make help` says what there is.
# Environments: .venv for the project, .venv-sam for the SAM CLI and the AWS CLI, .venv-checkov for the scanners of the
# template, whose pins do not fit beside ours.

PYTHON ?= python3
VENV := .venv
SAM_VENV := .venv-sam
CHECKOV_VENV := .venv-checkov
BIN := $(VENV)/bin
PACKAGES := -e layers/core -e layers/runtime -e 'trainer_image[keras]' -e '.[local,test]'

# One more than there are cores, since what starts a local cloud often waits for it; four at most.
WORKERS ?= $(shell cores=$$(nproc); echo $$(( cores < 3 ? cores + 1 : 4 )))

.DEFAULT_GOAL := help
.PHONY: help setup demo down test test-full check check-template build format bench bench-endpoint bench-train clean

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | expand -t 18

setup: $(VENV)/.ready $(SAM_VENV)/.ready ## Create both environments (demo and test do this by themselves)

$(VENV)/.ready: constraints.txt pyproject.toml layers/core/pyproject.toml layers/runtime/pyproject.toml trainer_image/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
		|| { echo "Lehr needs Python 3.11 to 3.13; name one with: make PYTHON=python3.13 $(MAKECMDGOALS)"; exit 2; }
	@echo "creating $(VENV), the environment of the project (a minute or two)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(PACKAGES)
	@touch $@

$(SAM_VENV)/.ready: constraints-sam.txt
	@echo "creating $(SAM_VENV), the environment of the SAM CLI and the AWS CLI"
	@$(PYTHON) -m venv $(SAM_VENV)
	@$(SAM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-sam.txt aws-sam-cli awscli
	@touch $@

$(CHECKOV_VENV)/.ready: constraints-checkov.txt
	@echo "creating $(CHECKOV_VENV), the environment of checkov and parliament"
	@$(PYTHON) -m venv $(CHECKOV_VENV)
	@$(CHECKOV_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-checkov.txt checkov parliament setuptools
	@touch $@

demo: setup ## Data in, HTTPS prediction out: the whole system on this machine
	@$(BIN)/lehr demo

down: ## Stop the local cloud
	@$(BIN)/lehr local down

test: setup check ## Format, lint, types, and the test suite with quick forms of its slow suites
	$(BIN)/python -m pytest -n $(WORKERS)

test-full: setup $(CHECKOV_VENV)/.ready ## The test suite with every slow suite in its full form
	$(BIN)/python -m pytest -m 'slow or not slow'

check: setup ## Format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup ## Rewrite the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check-template: setup $(CHECKOV_VENV)/.ready ## sam validate, sam build, cfn-lint, checkov, parliament, size of the layers
	$(BIN)/python -m pytest tests/template tests/architecture -m 'slow or not slow'

build: setup ## Build for AWS (needs python3.13 on PATH)
	$(SAM_VENV)/bin/sam build

bench: setup ## Seconds from _READY to a promoted champion, by state, against the bare trainer
	$(BIN)/python benchmarks/first_light.py

bench-endpoint: setup ## The endpoint: cold start, warm requests, peers (about 20 minutes; ARGS=--quick for 6)
	$(BIN)/python -m benchmarks.cold_start $(ARGS)
	$(BIN)/python -m benchmarks.warm $(ARGS)
	$(BIN)/python -m benchmarks.peers $(ARGS)

bench-train: setup ## The training loop against DataLoader, Lightning and Keras (15 minutes; ARGS=--quick for 3)
	$(BIN)/python -m benchmarks.train $(ARGS)

clean: down ## Remove what was built; environments stay
	rm -rf .aws-sam .lehr benchmarks/.peers .pytest_cache .mypy_cache .ruff_cache
