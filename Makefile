# make demo: the main job. make test: every check, as CI runs them. Each sets up its own environment.
PYTHON ?= python3

.PHONY: demo test clean

demo: .venv/demo
	.venv/bin/python examples/tag.py

test: .venv/dev
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/basedpyright --pythonpath .venv/bin/python
	.venv/bin/pytest --cov --cov-report=term:skip-covered --cov-fail-under=95

.venv/%: pyproject.toml
	test -x .venv/bin/pip || $(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --editable '.[$*]'
	touch $@

clean:
	rm -rf .venv dist .coverage
