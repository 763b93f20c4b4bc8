# Every verb works from a bare checkout: it makes the virtual environment it needs first.
#   make run ARGS="--log-level debug"     passes flags to the server
#   make test ARGS="-k lease"             passes flags to pytest
#   make PYTHON=python3.12 test           chooses the interpreter the environment is made with

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
# Wheels only: nobody who runs Tenure needs a compiler. Hashes are in the requirement files, and
# all there is to install, so nothing is resolved: a newer release elsewhere changes nothing.
PIP_INSTALL := $(BIN)/pip --disable-pip-version-check install --quiet --only-binary :all: --require-hashes --no-deps

.DEFAULT_GOAL := help
.PHONY: help run test test-slow check audit fix compat differential histories bench bench-full fuzz h2spec proto docs lock clean

help:  ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements/run.txt | $(BIN)/python
	$(PIP_INSTALL) -r $<
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	$(PIP_INSTALL) -r $<
	@touch $@

# Three are published as source only. They are pure Python, and setuptools is in dev.txt.
$(VENV)/.compat: requirements/compat.txt $(VENV)/.dev
	$(PIP_INSTALL) --no-binary etcd3,python-etcd,ydiff --no-build-isolation -r $<
	@touch $@

$(VENV)/.aetcd: requirements/aetcd.txt | $(BIN)/python
	$(PIP_INSTALL) --upgrade --target $(VENV)/aetcd -r $<
	@touch $@

# Who has no npm, or no go, gets the other clients; these tests are skipped and say so.
compat/node_etcd3/node_modules/.made: compat/node_etcd3/package-lock.json
	@if command -v npm > /dev/null; then \
		npm ci --prefix $(<D) --ignore-scripts --no-audit --no-fund --silent && touch $@; \
	fi

$(VENV)/.bench: requirements/bench.txt $(VENV)/.dev
	$(PIP_INSTALL) -r $<
	@touch $@

# Apart from everything else: what audits is not what is audited.
$(VENV)/.audit: requirements/audit.txt | $(BIN)/python
	$(PIP_INSTALL) --upgrade --target $(VENV)/audit -r $<
	@touch $@

run: $(VENV)/.run  ## Serve on 127.0.0.1:2379 with the data in ./default.etcd
	$(BIN)/python -m server $(ARGS)

test: $(VENV)/.dev  ## Run the tests; lease and mvcc must be covered whole, branches included
	$(BIN)/python -m pytest --cov --cov-report= $(ARGS)
	$(BIN)/coverage report --include='lease/*,mvcc/*' --fail-under=100
	$(BIN)/coverage report

test-slow: $(VENV)/.dev  ## Run the tests with many more random examples
	HYPOTHESIS_PROFILE=night $(BIN)/python -m pytest --timeout=0 $(ARGS)

check: $(VENV)/.dev  ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: $(VENV)/.audit  ## Ask for known holes of the dependencies; see docs/threats.md
	PYTHONPATH=$(VENV)/audit $(BIN)/python tools/audit.py

fix: $(VENV)/.dev  ## Format, and repair what can be repaired by rule
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

GO_SCENARIOS := compat/go_clientv3/scenarios.test
$(GO_SCENARIOS): $(wildcard compat/go_clientv3/*.go) compat/go_clientv3/go.mod
	@if command -v go > /dev/null; then cd $(<D) && go test -c -o $(@F) .; fi

compat: $(VENV)/.compat $(VENV)/.aetcd compat/node_etcd3/node_modules/.made $(GO_SCENARIOS)  ## Drive the server, and etcd, with real etcd clients
	$(BIN)/python -m compat --page docs/compatibility.md $(ARGS)
	$(BIN)/python -m pytest -q compat/test_differential.py compat/test_tls_matrix.py compat/test_histories.py

differential: $(VENV)/.compat  ## Put 100,000 random operations to the server and to etcd, and compare
	$(BIN)/python -m compat.differential $(ARGS)

histories: $(VENV)/.compat  ## Check what clients and watchers saw while the server was killed and stopped
	$(BIN)/python -m compat.histories $(ARGS)

bench: $(VENV)/.bench  ## Measure beside real etcd, 12 minutes (needs Debian's nghttp2-client and go)
	$(BIN)/python -m bench $(ARGS)

bench-full: $(VENV)/.bench  ## Measure everything beside etcd 3.5 and 3.6 and kine, for hours
	$(BIN)/python -m bench all --contenders tenure,etcd,etcd36,kine $(ARGS)

fuzz: $(VENV)/.dev  ## Drive the HTTP/2 core with damaged frames and an honest peer, and HTTP/1.1 with nonsense
	$(BIN)/python -m fuzz.h2_fuzz --steps 1000000 $(ARGS)
	$(BIN)/python -m fuzz.http1_fuzz --clients 20000

# A Go program, so Go has to be there: go install github.com/summerwind/h2spec/cmd/h2spec@latest
h2spec: $(VENV)/.dev  ## Check conformance to HTTP/2 and HPACK with h2spec
	$(BIN)/python tools/h2spec.py $(ARGS)

proto: $(VENV)/.dev  ## Generate etcdpb from the .proto files
	$(BIN)/python tools/gen_proto.py

docs: $(VENV)/.dev  ## Generate the pages that are derived from code
	$(BIN)/python tools/gen_docs.py

LOCK := $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-header \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links

lock: $(VENV)/.dev  ## Pin the dependencies anew from the ranges in pyproject.toml
	$(LOCK) --upgrade --output-file requirements/run.txt pyproject.toml
	$(LOCK) --upgrade --extra dev --constraint requirements/run.txt \
		--output-file requirements/dev.txt pyproject.toml
	$(LOCK) --upgrade --constraint requirements/dev.txt \
		--output-file requirements/compat.txt requirements/compat.in
	$(LOCK) --upgrade --output-file requirements/aetcd.txt requirements/aetcd.in
	$(LOCK) --upgrade --output-file requirements/audit.txt requirements/audit.in
	$(LOCK) --upgrade --constraint requirements/dev.txt \
		--output-file requirements/bench.txt requirements/bench.in

clean:  ## Remove what the other verbs made, but no data directory
	rm -rf bench/.cache bench/go/load compat/node_etcd3/node_modules $(GO_SCENARIOS) $(VENV) build dist .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
