# inkdigits: `make run` serves, `make test` tests. Everything lands in .venv; `make clean` removes what was made.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 9696
export HOST PORT

VENV := .venv
BIN := $(VENV)/bin
# Each stamp says: this set of packages is installed as pyproject.toml now asks for it.
CORE := $(VENV)/.core
DEV := $(VENV)/.dev

.DEFAULT_GOAL := help
.PHONY: help run test lint format train run_train test_server test_client evaluate bench screenshots web-runtime static clean

help: ## list the targets
	@grep -E '^[a-z_-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

run: $(CORE) ## serve on http://$(HOST):$(PORT)
	@exec $(BIN)/inkdigits serve

test: $(DEV) ## install what the tests need and run them all
	@scripts/get-browser.sh $(BIN)/python
	@scripts/web-runtime.sh
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest

lint: $(DEV) ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(DEV) ## bring the style in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train: $(DEV) ## train the default network on MNIST into models/
	$(BIN)/inkdigits train --data mnist --network cnn --out models/cnn.onnx

run_train: train ## the same as train

test_server: run ## the same as run

test_client: ## have the server read examples/row_data.json
	@curl --silent --show-error --fail-with-body http://$(HOST):$(PORT)/predict \
		--header 'Content-Type: application/json' --data @examples/row_data.json && echo \
		|| { echo 'no answer from http://$(HOST):$(PORT): start the server with make test_server' >&2; exit 1; }

evaluate: $(DEV) ## measure the shipped model on MNIST's test set
	$(BIN)/inkdigits evaluate cnn --data mnist

bench: $(DEV) ## run every benchmark; results go to benchmarks/results
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

screenshots: $(DEV) ## photograph the page's states into docs/images
	@scripts/get-browser.sh $(BIN)/python
	$(BIN)/python scripts/screenshots.py

web-runtime: ## fetch what the page needs to read on the device itself (npm)
	@scripts/web-runtime.sh

static: $(CORE) web-runtime ## build the page as static files into build/static; SERVER=https://… names a server
	$(BIN)/python scripts/build_static.py build/static $(if $(SERVER),--server $(SERVER))

clean: ## remove everything that was made here
	rm -rf $(VENV) .pytest_cache .ruff_cache build dist models runs node_modules src/inkdigits/web/vendor
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "inkdigits needs Python 3.11 or later, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)

$(CORE): $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(DEV): $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(CORE)
