# Every command of the project. `make` lists them. All work without root; .venv is made and kept up to date by itself.
#
#   make test ARGS="-k retry"     options for pytest; likewise ARGS for bench and demo
#   make demo PYTHON=python3.13   the Python that .venv is made with

SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?=
ARGS ?=
BIN := .venv/bin
DEMO := .venv/.has-demo
ALL := .venv/.has-all
GROUND := pyproject.toml constraints.txt

.PHONY: help .venv demo test check format docs bench instructions constraints clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z.]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(DEMO) ## run one real job of every type on a server of its own and show what came out
	@$(BIN)/python -m engine demo $(ARGS)

test: $(ALL) ## run every test that this machine can; the summary says what was skipped and why
	@$(BIN)/python -m pytest -n 3 $(ARGS)

check: $(ALL) ## format, lint and types, changing nothing
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(ALL) ## put the sources into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(ALL) ## build the documentation into dist/site; a link or an anchor that is not there is an error
	@set -o pipefail; $(BIN)/properdocs build -f docs/site/mkdocs.yml --strict 2>&1 | { grep -v '^INFO' || true; }
	@echo "made dist/site/index.html"

bench: $(ALL) ## run the benchmarks: make bench ARGS="drain --peers"
	@$(BIN)/python -m benchmarks $(ARGS)

instructions: $(ALL) ## compare the server's instructions for a job with those in the repository; needs valgrind
	@$(BIN)/python -m benchmarks instructions $(ARGS)

.venv: $(ALL) ## make or update .venv with all that development needs

constraints: ## resolve constraints.txt anew from pyproject.toml (needs uv)
	@uv pip compile -q --upgrade --universal --python-version 3.11 --all-extras --group dev --group docs \
	  --no-annotate --no-header pyproject.toml -o constraints.txt

clean: ## remove what the other targets left behind; .venv stays
	@rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# The demo waits for what the demo needs and no more; a stamp makes both rules quick when there is nothing to do.

$(DEMO): $(GROUND)
	@$(make_venv)
	@$(call install,-e '.[demo]')
	@touch $@

$(ALL): $(GROUND)
	@$(make_venv)
	@$(call install,-e '.[all]' --group dev --group docs)
	@touch $(DEMO) $@

define install
  echo "installing into .venv ..."; \
  if command -v uv >/dev/null; then uv pip install -q -p $(BIN)/python -c constraints.txt $(1); \
  else $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt $(1); fi
endef

# Debian's python3.11 comes without ensurepip, so a pip from elsewhere may have to stand in; and its pip is older than --group.
define make_venv
  test -x $(BIN)/python && exit 0; \
  for py in $(or $(PYTHON),python3.11 python3.12 python3.13 python3.14 python3); do \
    "$$py" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && found="$$py" && break; \
  done; \
  test -n "$$found" || { echo "no Python 3.11 or later found: install one, or say make PYTHON=/path/to/python" >&2; exit 1; }; \
  if command -v uv >/dev/null; then uv venv -q --seed --allow-existing -p "$$found" .venv; \
  elif "$$found" -c 'import ensurepip' 2>/dev/null; then "$$found" -m venv .venv; \
  elif "$$found" -m pip --version >/dev/null 2>&1; then \
    "$$found" -m venv --without-pip .venv && "$$found" -m pip --python $(BIN)/python install -q pip; \
  else echo "$$found has no pip and cannot make one: apt-get install python3-venv, or put uv on PATH" >&2; exit 1; fi; \
  command -v uv >/dev/null || $(BIN)/python -m pip install -q --disable-pip-version-check --upgrade 'pip>=25.1'
endef
