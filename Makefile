# One command per job, the same for a person, the hooks and CI. Each target installs what it needs first.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HOME_DIR ?= home
AIRFLOW_PORT ?= 8080
MLFLOW_PORT ?= 5000
# One more than cores: the one that starts servers mostly waits for them.
TEST_PROCESSES ?= 3
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# Bytecode is compiled at install: without it every Airflow process starts three times slower.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo up cluster test quick pictures check format lock bench bench-decisions clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

install: $(VENV)/.installed ## the virtual environment, from the lock

$(VENV)/.installed: requirements.txt requirements-dev.txt requirements-cluster.txt requirements-observability.txt requirements-onnx.txt requirements-torch.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Nightshift needs Python 3.11 or newer, got " + sys.version.split()[0] + ". Run make with PYTHON=/path/to/python3.11.")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q uv==0.13.8
	$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode -r requirements.txt -r requirements-cluster.txt -r requirements-observability.txt -r requirements-onnx.txt -r requirements-dev.txt -c constraints.txt
	$(BIN)/python -m pip install -q --retries 0 --timeout 10 --extra-index-url $(TORCH_INDEX) -r requirements-torch.txt -c constraints.txt
	$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode --no-deps -e .
	touch $@

demo: install ## a simulated month of card payments with a bad week, through the real DAGs (no server)
	$(BIN)/nightshift --home $(HOME_DIR) demo

up: install ## Airflow and MLflow on loopback over the same home; Ctrl-C stops both
	$(BIN)/nightshift --home $(HOME_DIR) up --airflow-port $(AIRFLOW_PORT) --mlflow-port $(MLFLOW_PORT)

cluster: install ## a whole cluster as processes of this machine: PostgreSQL, Redis, S3, MLflow, Airflow, two workers
	@command -v redis-server >/dev/null || { echo "E-CLUSTER-PROGRAM cluster: Redis must be installed. apt-get install redis-server"; exit 2; }
	$(BIN)/nightshift --home $(HOME_DIR) cluster --airflow-port $(AIRFLOW_PORT) --mlflow-port $(MLFLOW_PORT)

test: install ## the whole suite
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

quick: install ## unit, DAG and suite tests without the slow ones: no server, no kill, no training
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" tests/unit tests/dags tests/expectations

pictures: install ## the pictures of docs/, by the browser tests
	NIGHTSHIFT_PICTURES=docs/pictures $(BIN)/python -m pytest tests/browser

check: install ## format, lint, types, and every pipeline file
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/nightshift check

format: install ## write the format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install ## what the daily chain costs, step by step
	$(BIN)/python -m benchmarks.daily_chain

DATA ?= ../shared/data
bench-decisions: install ## how often the gate, the monitor and the data gate decide right: docs/decisions_measured.md
	$(BIN)/python -m benchmarks.decisions --data $(DATA)

LOCK := $(BIN)/uv pip compile -q --python $(BIN)/python --no-header --no-annotate
lock: install ## resolve the requirements anew into constraints.txt and docker/constraints-cuda.txt
	$(LOCK) requirements.txt requirements-cluster.txt requirements-observability.txt requirements-onnx.txt requirements-dev.txt docker/requirements-images.txt docker/requirements-mlflow.txt -o constraints.txt
	$(LOCK) docker/requirements-cuda.txt -c constraints.txt -o docker/constraints-cuda.txt

clean: ## remove the virtual environment and caches; the home stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
