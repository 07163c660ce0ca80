# inkdigits: `make run` serves, `make test` tests. Everything lands in .venv; `make clean` removes what was made.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 9696
export HOST PORT
# Usage data that packages would send: what benchmarks and peers import without inkdigits, too.
ORT_DISABLE_TELEMETRY ?= 1
DO_NOT_TRACK ?= true
export ORT_DISABLE_TELEMETRY DO_NOT_TRACK

VENV := .venv
BIN := $(VENV)/bin
# Each stamp says: this set of packages is installed as pyproject.toml now asks for it.
CORE := $(VENV)/.core
TRAIN := $(VENV)/.train
DEV := $(VENV)/.dev
TRAIN_CONSTRAINTS := deploy/train-constraints.txt
LOCK := --quiet --upgrade --generate-hashes --strip-extras --no-emit-options --no-emit-index-url \
	--no-emit-find-links --no-emit-trusted-host

.DEFAULT_GOAL := help
.PHONY: all docker_build docker_run lock help run check test lint format train run_train train_shipped test_server test_client evaluate bench notebooks screenshots web-runtime static clean

help: ## list the targets
	@grep -E '^[a-z_-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

run: $(CORE) ## serve on http://$(HOST):$(PORT)
	@exec $(BIN)/inkdigits serve

check: $(DEV) ## style, types and the fast tests, in less than 90 seconds
	@scripts/get-browser.sh $(BIN)/python
	@scripts/web-runtime.sh
	$(CHECKS)
	$(PYTEST) -m 'not slow or smoke'

test: $(DEV) ## install what the tests need and run them all
	@scripts/get-browser.sh $(BIN)/python
	@scripts/get-strace.sh
	@scripts/get-java.sh
	@scripts/get-postgres.sh
	@scripts/web-runtime.sh
	$(CHECKS)
	$(PYTEST)

# Many tests wait for servers: three processes for two cores. Long tests are not left to the end, as files come by name.
PYTEST = PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder \
	--numprocesses $$($(PYTHON) -c 'import os; print(min(4, 3 * (os.cpu_count() or 1) // 2))')

# Style, and the types of Python and of the page's JavaScript. TypeScript's compiler is of package.json, as the runtime is.
define CHECKS
$(BIN)/ruff check .
$(BIN)/ruff format --check .
$(BIN)/mypy
PATH="$(CURDIR)/$(BIN):$$PATH" node_modules/.bin/tsc --project jsconfig.json
endef

lint: $(DEV) ## check style and types
	@scripts/web-runtime.sh
	$(CHECKS)

format: $(DEV) ## bring the style in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What `make all` trains on, and what: the perceptron in NumPy reads 98.5% of MNIST's test digits after some 15 seconds;
# NETWORK=cnn reads more of them, and takes the better part of an hour.
DATA ?= mnist
NETWORK ?= mlp
all: export INKDIGITS_CACHE ?= build/data
all: $(TRAIN) ## download MNIST, train on it, serve the result; DATA, NETWORK and EPOCHS change it, make clean undoes it
	$(if $(wildcard $(DATA)),,$(BIN)/inkdigits data --download $(DATA))
	$(BIN)/inkdigits train --data $(DATA) --network $(NETWORK) $(if $(EPOCHS),--epochs $(EPOCHS)) --out models/$(NETWORK).onnx
	@exec $(BIN)/inkdigits serve --model models/$(NETWORK).onnx

train: $(TRAIN) ## train the default network on MNIST into models/
	$(BIN)/inkdigits train --data mnist --network cnn --out models/cnn.onnx

run_train: train ## the same as train

train_shipped: $(DEV) ## train the default model as it ships, from nothing, into models/shipped/; two hours of two cores
	$(BIN)/python scripts/train_shipped.py cnn --folder models/shipped

test_server: run ## the same as run

test_client: ## have the server read examples/row_data.json
	@curl --silent --show-error --fail-with-body http://$(HOST):$(PORT)/predict \
		--header 'Content-Type: application/json' --data @examples/row_data.json && echo \
		|| { echo 'no answer from http://$(HOST):$(PORT): start the server with make test_server' >&2; exit 1; }

evaluate: $(DEV) ## measure the shipped model on MNIST's test set
	$(BIN)/inkdigits evaluate cnn --data mnist

BENCH = accuracy invariance pen_strokes latency startup footprint page
bench: $(DEV) ## run the benchmarks that take minutes, not hours; results go to benchmarks/results
	@for name in $(BENCH); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py || exit 1; done

notebooks: $(DEV) ## run the notebooks and make their .ipynb anew from their text
	$(BIN)/python scripts/notebooks.py

screenshots: $(DEV) ## photograph the page's states into docs/images
	@scripts/get-browser.sh $(BIN)/python
	$(BIN)/python scripts/screenshots.py

# Most servers, EKS's t3 among them, have x86-64; an image for the machine it is built on would not start there when that
# is an Arm laptop. PLATFORM=linux/arm64 builds for Graviton, or to run on the laptop itself without emulation.
PLATFORM ?= linux/amd64
docker_build: ## build the container image inkdigits:local for PLATFORM, linux/amd64
	docker build --platform $(PLATFORM) --file deploy/Dockerfile --tag inkdigits:local .

docker_run: ## run it on http://127.0.0.1:$(PORT)
	docker run --platform $(PLATFORM) --rm --init --read-only --cap-drop ALL --security-opt no-new-privileges \
		--env PORT --publish 127.0.0.1:$(PORT):$(PORT) inkdigits:local

lock: $(DEV) ## lock the container's packages anew, with their hashes
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip-tools>=7.5'
	$(BIN)/pip-compile $(LOCK) --extra=feedback --output-file=deploy/requirements.txt pyproject.toml
	$(BIN)/pip-compile $(LOCK) --output-file=deploy/build-requirements.txt deploy/build-requirements.in

web-runtime: $(BIN)/python ## fetch what the page needs to read on the device itself (npm)
	@scripts/web-runtime.sh

static: $(CORE) web-runtime ## build the page as static files into build/static; SERVER=https://… names a server
	$(BIN)/python scripts/build_static.py build/static $(if $(SERVER),--server $(SERVER))

clean: ## remove everything that was made here
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build dist models runs node_modules src/inkdigits/web/vendor
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "inkdigits needs Python 3.11 or later, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)

$(CORE): $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(TRAIN): $(BIN)/python pyproject.toml $(TRAIN_CONSTRAINTS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[train]' --constraint $(TRAIN_CONSTRAINTS)
	@touch $@ $(CORE)

$(DEV): $(BIN)/python pyproject.toml $(TRAIN_CONSTRAINTS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' --constraint $(TRAIN_CONSTRAINTS)
	@touch $@ $(CORE) $(TRAIN)
