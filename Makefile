# What a developer types. `make help` lists it.
#
# The first run makes .venv from the hashed locks in requirements/; later runs see by
# the stamps in it that nothing changed. pip asks whatever index this machine uses.

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench longevity faults image-check format lock audit sbom readme
.PHONY: clean

VENV := .venv
BIN := $(VENV)/bin
# Four at once also on two cores, since many tests wait: a fifth less time than three
# take. One file by one worker, each of which has a PostgreSQL of its own. In the order
# of their names: the long ones with few tests would all come last else.
WORKERS ?= 4
# The interpreter for a new .venv; else the first of these that is new enough.
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,$(shell \
	command -v $(name) >/dev/null 2>&1 && \
	$(name) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		2>/dev/null && \
	echo $(name))))

PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check
LOCKED := $(PIP_INSTALL) --require-hashes --requirement

help: ## this list
	@awk -F ' *## *' '/^[a-z-]+:.*##/ { sub(/:.*/, "", $$1); \
		printf "make %-12s%s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.run ## see it at work, with no account: about 100 seconds, or Ctrl-C
	@$(BIN)/tunewatch demo

test: $(VENV)/.dev $(VENV)/.system $(VENV)/.policy ## every test, on SQLite and on a real PostgreSQL
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder \
		$(ARGS)

lint: $(VENV)/.dev ## ruff, mypy, the floors, and no address that is not ours
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	MYPYPATH=daemon:plugins $(BIN)/mypy
	$(BIN)/lint-imports
	.ci/no-addresses

bench: $(VENV)/.dev $(VENV)/.system ## how fast it is, as a table
	PYTHONPATH=tests $(BIN)/python -m bench $(ARGS)

longevity: $(VENV)/.dev ## an hour that is forty days: nothing may grow
	PYTHONPATH=tests $(BIN)/python -m bench.bench_longevity $(ARGS)

faults: $(VENV)/.dev $(VENV)/.system ## the long form of the fault suite; what passes goes into deploy/FAULTS.md
	FAULTS_RECORD=deploy/faults.json $(BIN)/pytest -m faults $(ARGS); code=$$?; \
		cd tests && ../$(BIN)/python -m support.fault_table && exit $$code

image-check: $(VENV)/.dev $(VENV)/.system ## the image's files, built as its Dockerfile says
	$(BIN)/pytest -m image tests/deploy $(ARGS)

format: $(VENV)/.dev ## let ruff order imports and lay out the code
	$(BIN)/ruff check --select I --fix
	$(BIN)/ruff format

lock: $(VENV)/.dev ## resolve the dependencies anew, newest versions allowed
	.ci/lock

audit: $(VENV)/.audit ## known vulnerabilities of what is locked, by an advisory database
	@$(VENV)/audit/bin/pip-audit --disable-pip --require-hashes --strict \
		--progress-spinner off --requirement requirements/run.txt \
		--requirement requirements/image.txt || { \
		echo "make: not audited, or not clean: the last line tells which. Without a way \
to an advisory database nothing is known, neither good nor bad." >&2; exit 1; }

sbom: $(VENV)/.audit ## dist/tunewatch.cdx.json: what is locked, as CycloneDX
	@mkdir -p dist
	@PYTHONWARNINGS=ignore $(VENV)/audit/bin/cyclonedx-py requirements \
		--pyproject pyproject.toml --output-reproducible --output-format JSON \
		--output-file dist/tunewatch.cdx.json requirements/run.txt
	@echo "make: dist/tunewatch.cdx.json"

readme: $(VENV)/.dev ## write what README.md and docs/reference tell of the code
	@cd tests && ../$(BIN)/python -m support.reference_pages

clean: ## remove .venv and what tools left
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "make: wanted Python 3.11, 3.12 or 3.13 as python3 \
	or python3.1x on the PATH; found none. Install one." >&2; exit 1; }
	@.ci/system-packages venv "$(PYTHON)"
	@echo "make: a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements/run.txt pyproject.toml | $(BIN)/python
	@echo "make: what tunewatch needs to run, into $(VENV), from requirements/run.txt"
	@$(LOCKED) requirements/run.txt
	@$(PIP_INSTALL) --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run | $(BIN)/python
	@echo "make: what its developers need, into $(VENV), from requirements/dev.txt"
	@$(LOCKED) requirements/dev.txt
	@touch $@

$(VENV)/.audit: requirements/audit.txt | $(BIN)/python
	@echo "make: what audits dependencies, into $(VENV)/audit, apart from them"
	@$(BIN)/python -m venv $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip install -qq --disable-pip-version-check \
		--require-hashes --requirement requirements/audit.txt
	@touch $@

$(VENV)/.system: .ci/system-packages .ci/kubectl requirements/kubectl.txt | $(BIN)/python
	@.ci/system-packages test
	@.ci/kubectl
	@touch $@

$(VENV)/.policy: requirements/policy.txt | $(BIN)/python
	@echo "make: what judges the manifests, into $(VENV)/policy, from requirements/policy.txt"
	@$(BIN)/python -m venv $(VENV)/policy
	@$(VENV)/policy/bin/python -m pip install -qq --disable-pip-version-check \
		--require-hashes --requirement requirements/policy.txt
	@touch $@
