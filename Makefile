# Two commands matter: `make run` shows the whole way once, `make test` runs the tests (`make test-long` the long ones).
.PHONY: run dev test test-long test-machines deploy-test check check-code docs browser screenshots format bench soak fuzz audit wheel example image clean

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Programs are started as modules: the first line of an installed script holds the path of the checkout, which may have
# characters that it cannot hold. For the same reason recipes name no absolute path.
RUN    := $(BIN)/python -m

ifneq ($(words $(VENV)),1)
$(error VENV is "$(VENV)"; make cannot use a path with a space, choose another)
endif

run: $(VENV)/.installed
	@$(RUN) backfill_assets demo

dev: $(VENV)/.installed
	@$(RUN) backfill_assets dev

test: $(VENV)/.installed-for-tests
	$(RUN) pytest -q --numprocesses 2 --dist worksteal $(ARGS)

# Scenarios of many processes or many days, which wait half of the time. They do not count in the coverage of `make check`.
test-long: $(VENV)/.installed-for-tests
	$(RUN) pytest -q -m long --numprocesses 3 --dist worksteal $(ARGS)

# Machines out of namespaces that are lost in mid-run; needs root, else they are skipped. Nearly all of it is waiting.
test-machines: $(VENV)/.installed-for-tests
	$(RUN) pytest -q -rP -m machines --numprocesses 2 $(ARGS)

# What takes several machines, containers or minutes: lost hosts, a silent network, Celery, the image, Compose. Needs root.
deploy-test: $(VENV)/.installed-for-tests
	$(RUN) pytest -q -s -m deploy --durations 0 $(ARGS)

# Types and imports are checked beside the first tests: each of the two takes one core.
check: $(VENV)/.installed-for-tests
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(MAKE) --jobs=2 check-code test ARGS="--cov --cov-report term --numprocesses 3"

check-code: $(VENV)/.installed-for-tests
	$(RUN) mypy
	$(BIN)/python -c 'from importlinter.cli import lint_imports_command; lint_imports_command()' --no-cache

browser: $(VENV)/.installed-for-tests
	$(RUN) pytest -q -m browser $(ARGS)

screenshots: $(VENV)/.installed-for-tests
	BROWSER_SCREENSHOTS="$$PWD/docs/images" $(RUN) pytest -q -m browser

bench: $(VENV)/.installed-for-tests
	$(RUN) bench $(ARGS)

docs: $(VENV)/.installed
	$(RUN) backfill_assets settings --format markdown > docs/configuration.md

# Disturbed market days for SECONDS, two stretches at least; from ten minutes on also the long form of tests.
SECONDS ?= 900
soak: $(VENV)/.installed-for-tests
	$(BIN)/python -W ignore::RuntimeWarning -m bench.soak --seconds $(SECONDS)
	@[ $(SECONDS) -lt 600 ] || $(RUN) pytest -q -s -m 'long or not long' --kills 50 --outage 20 --examples 200 $(addprefix \
		backfill_assets_tests/acceptance/test_,killed_runs.py outages.py random_gaps_heal.py)

# Odd answers, tables, files, settings, options, paths and processes; ONE=family:seed replays one of them.
SEED   ?= 14
INPUTS ?= 3200
fuzz: $(VENV)/.installed-for-tests
	$(BIN)/python -W ignore::RuntimeWarning -m backfill_assets_tests.fuzz --seed $(SEED) --inputs $(INPUTS) $(if $(ONE),--one $(ONE))

# Known holes in what we depend on, and in how we use it; the first needs the network.
audit: $(BIN)/python
	@"$(PYTHON)" -m venv $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check bandit pip-audit
	$(VENV)/audit/bin/python -m bandit --quiet --configfile pyproject.toml --recursive backfill_assets
	$(VENV)/audit/bin/python -m pip_audit --no-deps --disable-pip --requirement constraints.txt

format: $(VENV)/.installed-for-tests
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

# A colon separates paths, and Dagster's migrations take a percent sign for their own syntax.
$(BIN)/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	@"$(PYTHON)" -c 'import os, sys; path = os.path.abspath("$(VENV)"); \
	names = {":": "a colon", "%": "a percent sign", "\n": "a line break (\\n)", "\r": "a carriage return (\\r)"}; \
	found = [name for sign, name in names.items() if sign in path]; \
	sys.exit(f"{path!a} contains {found[0]}: nothing can be installed there; use a folder without it" if found else 0)'
	@"$(PYTHON)" -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing into $(VENV) …"
	@$(RUN) pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-for-tests: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing into $(VENV), with what the tests need …"
	@$(RUN) pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@ $(VENV)/.installed

# The wheel, without what an earlier build left in build/lib.
wheel: $(BIN)/python
	@rm -rf build/lib build/bdist.* dist
	@$(RUN) pip wheel -qq --disable-pip-version-check --no-deps --wheel-dir dist .
	@echo dist/*.whl

# The wheel and the example as users have them: in an environment of their own, without the checkout.
example: $(VENV)/.installed-for-tests
	$(RUN) pytest -q -m wheel $(ARGS)

# The image of a service, with podman or docker (which needs buildx): make image IMAGE=registry.example/backfill_assets:1.0
ENGINE ?= $(shell command -v podman || command -v docker)
IMAGE  ?= localhost/backfill_assets:$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
image:
	@[ -n "$(ENGINE)" ] || { echo "neither podman nor docker is installed; another program: make image ENGINE=…"; exit 1; }
	$(ENGINE) build $(if $(findstring podman,$(ENGINE)),--format docker) --file deploy/Containerfile --tag $(IMAGE) \
		--build-arg VERSION=$(lastword $(subst :, ,$(IMAGE))) \
		--build-arg REVISION="$$(git rev-parse HEAD 2> /dev/null || echo unknown)" $(ARGS) .

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .coverage* *.egg-info
