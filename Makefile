# One command a habit. Each makes .venv when it is missing.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
EXTRAS := minilm,standalone,openvino,dask,ray,dev

.PHONY: help setup demo up test bench check clean

help:            ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	@echo ">> making $(VENV) (a few minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit("Roost needs Python 3.11 or later, this is %d.%d: make PYTHON=python3.11" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@echo ">> torch first, pinned: a bare torch brings several GB of CUDA"
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0 -c constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

setup: $(STAMP)  ## make .venv with everything pinned
	@echo ">> ready: $(BIN)/roost --help"

demo: $(STAMP)   ## index the example handbook and ask it questions: no keys, no network
	$(BIN)/roost demo

up: $(STAMP)     ## Milvus and the Prefect UI on this machine, until Ctrl-C
	$(BIN)/roost up

test: $(STAMP)   ## every test: unit, Milvus Lite, a real Milvus server, the command line
	$(BIN)/python -m pytest --numprocesses 3 --dist loadscope --no-loadscope-reorder

bench: $(STAMP)  ## speed beside LlamaIndex, LangChain and the bare model (make bench FULL=--full: the long form)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS),bench]'
	$(BIN)/python -m tests.benchmarks.bench $(FULL)

check: $(STAMP)  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:           ## remove .venv and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
