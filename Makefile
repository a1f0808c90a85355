# Everything a person does here, by name. `make serve` and `make test` work on a fresh machine with Python 3.11 or newer.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SRC    := src tests benchmarks tools
ARGS   ?=

# Two test processes: each test file keeps to one of them, so that what a file sets up is set up once.
SIDE_BY_SIDE := -n 2 --dist loadfile

# A stamp says what is installed, and for which pyproject.toml: when that is newer, pip runs again; else nothing does.
SERVE_STAMP := $(VENV)/.installed-serve
DEV_STAMP   := $(VENV)/.installed-dev
BENCH_STAMP := $(VENV)/.installed-bench

.DEFAULT_GOAL := help
.PHONY: help setup serve test check format bench clean

help: ## Show this
	@echo "make serve     install what is needed, then start the server (ARGS='--port 9000' adds flags)"
	@echo "make test      install what is needed, then run all tests"
	@echo "make setup     leave .venv ready for development"
	@echo "make check     what CI runs: format, lint, types, import contracts, fast tests"
	@echo "make format    mend format and lint where that can be done by itself"
	@echo "make bench     run the benchmarks"
	@echo "make clean     remove .venv and caches (never your data)"

setup: $(DEV_STAMP)
	@echo "Ready: $(VENV)"

serve: $(SERVE_STAMP)
	@exec $(BIN)/diffuserve serve $(ARGS)

test: $(DEV_STAMP)
	@$(BIN)/pytest $(SIDE_BY_SIDE) $(ARGS)

check: $(DEV_STAMP)
	@$(BIN)/ruff format --check $(wildcard $(SRC))
	@$(BIN)/ruff check $(wildcard $(SRC))
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest -m unit $(SIDE_BY_SIDE)

format: $(DEV_STAMP)
	@$(BIN)/ruff format $(wildcard $(SRC))
	@$(BIN)/ruff check --fix $(wildcard $(SRC))

bench: $(BENCH_STAMP)
	@$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(SERVE_STAMP): EXTRAS := diffusion
$(DEV_STAMP):   EXTRAS := diffusion,dev,sdks
$(BENCH_STAMP): EXTRAS := diffusion,dev,sdks,bench

# A development environment can serve too.
$(SERVE_STAMP): pyproject.toml
	@$(venv)
	@$(install)
	@touch $@

$(DEV_STAMP): pyproject.toml
	@$(venv)
	@$(install)
	@touch $@ $(SERVE_STAMP)

$(BENCH_STAMP): pyproject.toml
	@$(venv)
	@$(install)
	@touch $@ $(DEV_STAMP) $(SERVE_STAMP)

# A venv that a Ctrl-C left half made has no pip: it is made again.
define venv
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "diffuserve needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1 || echo missing)." >&2; \
	echo "Install it (Debian 12: apt install python3 python3-venv), or say which: make PYTHON=/path/to/python3.12" >&2; \
	exit 2; }; \
[ -x $(BIN)/pip ] || $(PYTHON) -m venv --clear $(VENV) >/dev/null 2>&1 || { \
	echo "A virtual environment cannot be made: on Debian, apt install python3-venv" >&2; exit 2; }
endef

define install
echo "Installing diffuserve[$(EXTRAS)] into $(VENV): a few minutes at first, about 1.5 GB ..."; \
$(BIN)/pip install -qq --disable-pip-version-check --no-input -e '.[$(EXTRAS)]' || { \
	echo "The installation failed: pip's own words are above." >&2; exit 2; }; \
echo "Installed."
endef
