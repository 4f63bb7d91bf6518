# One command per task. Each creates .venv first if it is missing.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RELEASE := .venv-release
STAMP  := $(VENV)/.installed
EXTRAS := local,ocr,agents,cluster,dev
# Test processes for two cores. The long form has fewer: its crash tests start many runs at a time.
SPREAD := --dist loadscope --no-loadscope-reorder --numprocesses
# Plug-ins that come with langchain-tests; no unit test uses them, and they take time at the start and at each test.
WITHOUT := -p no:benchmark -p no:codspeed -p no:recording

.PHONY: help setup demo up test test-unit test-all test-server bench bench-cli bench-scale bench-engines bench-lite soak docs pictures check release lock clean

help:            ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	@echo ">> creating $(VENV) (a few minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit("Roost needs Python 3.11 or later, this is %d.%d: make PYTHON=python3.11" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@echo ">> installing PyTorch first: on Linux its default build has several GB of CUDA packages, docs/how-to/install.md"
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0 -c constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

setup: $(STAMP)  ## create .venv with every version pinned
	@echo ">> ready: . $(BIN)/activate, then roost --help"

demo: $(STAMP)   ## index the example handbook and ask it its questions: no keys, no network
	$(BIN)/roost demo
	@echo ">> to use roost in this terminal: . $(BIN)/activate"

up: $(STAMP)     ## run Milvus, the Prefect UI and a worker on this machine until Ctrl-C
	$(BIN)/roost up

test: $(STAMP)       ## run the tests: unit, Milvus Lite, a real Milvus server, the command line
	$(BIN)/python -m pytest $(SPREAD) 5

test-unit: $(STAMP)  ## run the unit tests: seconds, no model and no server
	$(BIN)/python -m pytest $(WITHOUT) $(SPREAD) 2 tests/unit

test-all: $(STAMP)   ## run the long form too: 1,000 crash schedules, every matrix (hours)
	$(BIN)/python -m pytest $(SPREAD) 2 --long

test-server: $(STAMP)  ## run what needs a Milvus server against yours: URI=http://host:19530 (FULL=--long: the long form)
	@test -n "$(URI)" || { echo "say which server: make test-server URI=http://127.0.0.1:19530"; exit 2; }
	MILVUS_TEST_URI=$(URI) $(BIN)/python -m pytest $(SPREAD) 2 $(FULL) tests/integration tests/acceptance

bench: $(STAMP)  ## measure speed against LlamaIndex, LangChain and the bare model (FULL=--full: the long form)
	$(BIN)/python -m tests.benchmarks.bench $(FULL)

bench-scale: $(STAMP)  ## measure the write path at a million chunks, and what follows (SCALE="--documents 1000": smaller)
	$(BIN)/python -m tests.benchmarks.scale $(SCALE)

bench-engines: $(STAMP)  ## measure what Dask, Ray and shards add to a batch, and what Prefect's server takes
	$(BIN)/python -m tests.benchmarks.scale.engines

bench-lite: $(STAMP)  ## measure commands on a file of Milvus Lite that grows to 300,000 chunks
	$(BIN)/python -m tests.benchmarks.scale.lite

bench-cli: $(STAMP)  ## measure what a command costs from its start to its exit (RUNS=--runs=3)
	$(BIN)/python -m tests.benchmarks.bench_cli $(RUNS)

soak: $(STAMP)   ## everything at once under attack, then judged (MINUTES=10, HOURS=1, SEED=1, PLANT=lost-write)
	@$(BIN)/python -m tests.soak $(if $(HOURS),--hours $(HOURS),--minutes $(or $(MINUTES),10)) --seed $(or $(SEED),1) \
		$(if $(PLANT),--plant $(PLANT))

docs: $(STAMP)   ## build the documentation into site/; a broken link fails it
	$(BIN)/python docs/make_reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

pictures: $(STAMP)  ## make the documentation's pictures and JSON from the real terminal and UI; needs Chromium
	$(BIN)/python docs/make_pictures.py
	$(BIN)/python docs/make_json.py

check: $(STAMP)  ## lint, format, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p roost
	$(BIN)/python -m pytest -q tests/unit/test_imports.py

release: $(STAMP)  ## build what is published, check it, make SBOM and checksums; uploads nothing
	$(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/pip install --quiet --disable-pip-version-check -r tests/release/requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS),sources]'
	$(BIN)/python -m tests.release.make_release $(RELEASE)/bin

lock: $(STAMP)   ## write the hashes of all pinned packages, for the image and the release
	$(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/pip install --quiet --disable-pip-version-check -r tests/release/requirements.txt
	$(BIN)/python -m tests.release.lock $(RELEASE)/bin

clean:           ## remove .venv, build folders and caches
	rm -rf $(VENV) $(RELEASE) build dist site src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
