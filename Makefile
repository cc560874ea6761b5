# Everything here sets itself up: it takes Python 3.11 or later, pip and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PLUGINS := $(wildcard plugins/*)
EDITABLE := $(foreach plugin,$(PLUGINS),-e ./$(plugin))
PROJECTS := pyproject.toml $(wildcard plugins/*/pyproject.toml)

.PHONY: demo test test-large lint format bench docs dist release clean

demo: $(VENV)/.ready  ## Fine-tune, evaluate, export and ask, on real text
	$(BIN)/python examples/demo.py

test: $(VENV)/.ready-test lint  ## The fast tests
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-large: $(VENV)/.ready-bench  ## The tests that take minutes or peers
	$(BIN)/python -m pytest -m large

lint: $(VENV)/.ready-test  ## Style and types, with ruff and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.ready-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.ready-bench  ## The tables of README.md and docs
	$(BIN)/python benchmarks/tokenizer.py
	$(BIN)/python benchmarks/quality.py
	$(BIN)/python benchmarks/embeddings.py
	$(BIN)/python benchmarks/few_shot.py
	$(BIN)/python benchmarks/corpus.py
	$(BIN)/python benchmarks/pretrain.py
	$(BIN)/python benchmarks/speed.py --write
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/predict.py
	$(BIN)/python benchmarks/serve.py
	$(BIN)/python benchmarks/hostile.py

docs: $(VENV)/bin/python  ## The site, into site/
	$(BIN)/python -m pip install --quiet "mkdocs-material>=9.5" "mkdocstrings[python]>=0.29" "ruff==0.17.*"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --site-dir site
	! grep -rl "<blockquote>" site/api  # Prompts that were taken for quotes.

release: test docs dist  ## All that a release needs

dist: $(VENV)/bin/python  ## sdist and wheel, checked
	$(BIN)/python -m pip install --quiet "build>=1.2" "twine>=6.0"
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: $(PROJECTS) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -e . $(EDITABLE)
	touch $@

$(VENV)/.ready-test: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet -e ".[test]"
	touch $@

$(VENV)/.ready-bench: $(VENV)/.ready-test
	$(BIN)/python -m pip install --quiet --use-pep517 -e ".[bench]"
	touch $@

clean:
	rm -rf $(VENV) build site dist *.egg-info .pytest_cache .ruff_cache
