# Two commands to know: `make quickstart` (the whole loop on a small model) and `make test`.
# Both make their own environment in .venv/ first; nothing but Python 3.11 and make is needed.

.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH := torch==2.13.0
# The first of these that is at least 3.11 and can make environments. Another: `make install PYTHON=/path/to/python`.
PYTHON := $(firstword $(foreach p,python3.11 python3.12 python3.13 python3 python,$(shell \
	command -v $(p) >/dev/null 2>&1 && $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install quickstart test lint tiny clean

help:
	@echo "make quickstart   the whole loop on a small model: diagnose, prescribe, train, diagnose again"
	@echo "make test         lint, types, layers and tests"
	@echo "make lint         the same without the tests"
	@echo "make tiny         the model in the box, made anew: an hour and a half on one core"
	@echo "make install      the environment in $(VENV)/ (the others call it)"
	@echo "make clean        remove caches and $(VENV)/; run folders stay"

install: $(STAMP)

$(STAMP): pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
	  echo "callgrain needs Python 3.11 or newer, and none was found." >&2; \
	  echo "  install one (Debian, Ubuntu: apt-get install python3.11 python3.11-venv), or: make install PYTHON=/path/to/python" >&2; \
	  exit 2; fi
	@if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
	  echo "$(PYTHON) is $$($(PYTHON) -c 'import platform; print(platform.python_version())'); callgrain needs 3.11 or newer." >&2; \
	  echo "  name another: make install PYTHON=/path/to/python" >&2; exit 2; fi
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "$(PYTHON) cannot make environments: its venv module is missing." >&2; \
	  echo "  Debian, Ubuntu: apt-get install $(notdir $(PYTHON))-venv" >&2; exit 2; fi
	@set -e; began=$$(date +%s); say() { echo "[install $$(($$(date +%s) - began)) s] $$*"; }; \
	say "environment in $(VENV)/ with $$($(PYTHON) --version)"; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV); \
	say "$(TORCH): by far the largest part, one to ten minutes, as the network is"; \
	$(BIN)/pip install $(TORCH); \
	say "callgrain with what training and tests need: about a minute"; \
	$(BIN)/pip install -e '.[train,rl,gguf,openapi,mcp,logic,dense,dev]'; \
	touch $(STAMP); \
	say "done: $(BIN)/callgrain is ready"

quickstart: install
	@$(BIN)/callgrain quickstart

tiny: install
	@$(BIN)/python -m scripts.tiny

lint: install
	@echo "[test] ruff check";  $(BIN)/ruff check .
	@echo "[test] ruff format"; $(BIN)/ruff format --check .
	@echo "[test] pyright";     $(BIN)/pyright
	@echo "[test] layers";      $(BIN)/lint-imports

# One thread a process: two workers of pytest share the cores already.
test: lint
	@echo "[test] pytest: a few minutes"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow and not gpu and not network"

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
