# make demo    install into .venv, then run the smallest pipeline to its verdict
# make test    all tests            make check    format, lint, types, tests
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: demo test check
demo: .venv/installed
	$(BIN)/medgraph run quickstart

test: .venv/installed
	$(BIN)/python -m pytest -n 2

check: .venv/installed
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(MAKE) test

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
