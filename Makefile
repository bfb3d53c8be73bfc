# make env: the environment in .venv; make demo: measure, plan, verify and report on a real Triton; make test, make lint: checks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/made-from
RESULTS ?= results
DEMAND ?= sample_models/demand.toml
MODELS ?= image_classifier,segmenter,text_encoder
# In 384 MiB of a host, two of these models have room and the third one has not; an idle server takes more of a GPU.
GPU_MEMORY ?= $(if $(shell nvidia-smi -L 2>/dev/null | grep ^GPU),16GiB,384MiB)

.DEFAULT_GOAL := help
.PHONY: help env demo test lint

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' Makefile

env: $(STAMP) ## Make the environment in .venv from requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true):" \
	    "install it, or name it with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make environments: install its venv module (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m planner.solver.column_generation.precompile  # else the first plan waits for numba to compile
	@touch $@

demo: env ## Measure the sample models on a real Triton, plan their GPUs, verify the plan, write the report
	$(BIN)/analyze --model-names $(MODELS) --batch 1,4 --concurrency 1,4 --max-trial-seconds 10 -o $(RESULTS)
	$(BIN)/plan solve $(RESULTS) --mode memory --gpu-memory $(GPU_MEMORY) -o $(RESULTS)/placement-memory.json
	$(BIN)/plan solve $(RESULTS) --demand $(DEMAND) --max-utilization 120 --gpu-memory $(GPU_MEMORY) -o $(RESULTS)/placement.json
	$(BIN)/plan verify $(RESULTS)/placement.json $(RESULTS) || test $$? = 1  # 1: the plan does not hold, which is shown
	$(BIN)/report $(RESULTS) $(RESULTS)/placement-memory.json $(RESULTS)/placement.json $(RESULTS)/verification.json \
	  -o $(RESULTS)/report
	@echo "Done. Measurements: $(RESULTS)/; plans: $(RESULTS)/placement-memory.json and $(RESULTS)/placement.json;" \
	  "report: $(RESULTS)/report/report.html"

test: env ## Run the tests; those that need a program that is not installed are skipped with the reason
	$(BIN)/python -m pytest -rs -n 2 --dist loadgroup --durations 10

lint: env ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
