# What people and CI run. Each target makes the environment that it needs, and keeps it until pyproject.toml changes.
PYTHON ?= python3
PYENV_ROOT ?= $(HOME)/.pyenv
VERSIONS ?= 3.10 3.11 3.12 3.13

.PHONY: demo lint format fast test matrix sdist long clean
.PRECIOUS: .envs/%/ready

# The main job: learn to tell what each word of Python source is.
demo: .venv/demo
	.venv/bin/python examples/tag.py

lint: .venv/dev
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/basedpyright --pythonpath .venv/bin/python

format: .venv/dev
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

# The core's tests. Tests of other libraries are skipped, because .envs/fast does not have these.
fast: check-fast

# Tier 1: every check, on one Python.
test: lint
	.venv/bin/pytest -n 2 --cov --cov-report=term:skip-covered --cov-fail-under=95

# Tier 2: the core's tests on each Python that is found, with the oldest NumPy, and from the sdist.
matrix:
	@echo "Python: $(FOUND); NumPy 1.26 on Python $(firstword $(OLD))"
	$(MAKE) --no-print-directory --keep-going $(FOUND:%=check-%) $(addprefix check-numpy1.26-,$(firstword $(OLD))) sdist

# Tier 3, hours: tests marked `long`, and properties on a hundred times as many examples.
long: .venv/dev
	HYPOTHESIS_PROFILE=long .venv/bin/pytest -m '(long or hypothesis) and not gpu' --durations=10

sdist: .envs/build/ready
	rm -rf dist
	.envs/build/bin/python -m hatchling build --target sdist
	tar -xzf dist/combinet-*.tar.gz -C dist
	$(MAKE) --no-print-directory -C dist/combinet-*/ fast

clean:
	rm -rf .venv .envs dist .coverage

# -- environments ------------------------------------------------------------------------------

# Where Python of a version is: `found` runs each candidate, as a shim may stand for no Python at all.
candidates = python$(1) $(wildcard $(PYENV_ROOT)/versions/$(1).*/bin/python)
found = $(firstword $(foreach path,$(candidates),$(if $(shell $(path) --version 2>&1 | grep '^Python $(1)\.'),$(path))))
FOUND = $(foreach version,$(VERSIONS),$(if $(call found,$(version)),$(version)))
OLD = $(filter-out 3.13,$(FOUND)) # NumPy 1.26 has wheels for these

.venv/%: pyproject.toml
	test -x .venv/bin/pip || $(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --editable '.[$*]'
	touch $@

.envs/build/ready: pyproject.toml
	$(PYTHON) -m venv --clear .envs/build
	.envs/build/bin/pip install --quiet hatchling
	touch $@

# fast, a version of Python, or numpy1.26- and a version.
.envs/%/ready: pyproject.toml
	$(or $(call found,$(lastword $(subst -, ,$*))),$(PYTHON)) -m venv --clear .envs/$*
	.envs/$*/bin/pip install --quiet --editable '.[test]' $(if $(findstring numpy,$*),numpy==1.26.0)
	touch $@

check-%: .envs/%/ready
	.envs/$*/bin/python -m pytest -q
