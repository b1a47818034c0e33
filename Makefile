# The two commands of this project, and what developers need besides:
#
#   make quickstart   install into .venv, then train and use a translator (minutes)
#   make test         the whole test suite
#   make lint         ruff, mypy, import contracts
#   make constraints  record the versions that are installed in constraints.txt
#   make clean        remove .venv and caches
#
# PYTHON       the interpreter to make .venv with (3.11 or newer)
# TORCH_INDEX  another package index for torch, such as one with builds for CPU only
# WORKERS      how many tests run at once; auto: one per core, four at most
# CHANGES      of the quickstart's recipe, such as CHANGES="training.steps=300"

PYTHON ?= python3
TORCH_INDEX ?=
CHANGES ?=
WORKERS ?= auto

BIN = .venv/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --no-input
TORCH = $(shell sed -n 's/^    "\(torch[^"]*\)",$$/\1/p' pyproject.toml)

.PHONY: quickstart test lint constraints clean

quickstart: .venv/installed
	$(BIN)/peluche quickstart $(CHANGES)

test: .venv/installed-test
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist worksteal

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Everything is tested with the build of torch for CPU; its name ends in +cpu, which is left out.
constraints: .venv/installed-dev
	{ \
	  echo "# Versions that the tests passed with, Python $$($(BIN)/python -V | cut -d ' ' -f 2)."; \
	  echo "# Made by: make constraints. Use: pip install -c constraints.txt peluche"; \
	  $(PIP) freeze --exclude-editable | grep '==' | grep -v '^nvidia-\|^cuda-\|^triton=' \
	    | sed 's/+cpu$$//'; \
	} > constraints.tmp
	mv constraints.tmp constraints.txt

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/made:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "There is no '$(PYTHON)' here. Install Python 3.11 or newer, or say where it is:"; \
	  echo "  make $(MAKECMDGOALS) PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "peluche needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1)."; \
	  echo "If there is a newer one, say which:  make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/torch: .venv/made
	@echo "Installing peluche into .venv. To download: about 270 MB with torch for CPU (190 MB of it)."
ifeq ($(TORCH_INDEX)$(shell uname -s),Linux)
	@echo "On Linux, pip's usual torch also brings CUDA libraries for GPUs, several GB. Without a GPU,"
	@echo "press Ctrl-C and take the build for CPU. PyTorch's installation page shows the address of the"
	@echo "index that has it (choose pip and CPU there):"
	@echo "  make $(MAKECMDGOALS) TORCH_INDEX=ADDRESS"
endif
	$(PIP) install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) '$(TORCH)'
	@touch $@

.venv/installed: .venv/torch pyproject.toml
	$(PIP) install --quiet --editable .
	@touch $@

.venv/installed-%: .venv/torch pyproject.toml
	$(PIP) install --quiet --editable '.[$*]'
	@touch $@ .venv/installed
