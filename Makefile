# `make run` and `make test` do all the set-up themselves; PYTHON may name another Python 3.11 or 3.12.
PYTHON ?= python3.11
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: run test check prove

run: .venv/installed
	$(BIN)/espalier run --recipe laptop

test: .venv/installed-dev check
	$(BIN)/python -m tests.side_by_side

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.12
	$(BIN)/lint-imports

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# `make prove NAME`: what takes longer than CI may; its output is kept in tests/benchmarks/results with date and machine.
ifeq ($(firstword $(MAKECMDGOALS)),prove)
NAME := $(word 2,$(MAKECMDGOALS))
ifneq ($(NAME),)
.PHONY: $(NAME)
$(NAME): prove
	@:
endif
endif

prove: .venv/installed-dev
	@test -n "$(NAME)" || { echo "make prove NAME, where NAME is one of:" \
	    $(basename $(notdir $(wildcard tests/benchmarks/*.py))) >&2; exit 2; }
	kept=$$(mktemp) && bash -o pipefail -c "$(BIN)/python -m tests.benchmarks.$(NAME) | tee $$kept" && \
	    cp $$kept tests/benchmarks/results/$(NAME).txt && rm $$kept
