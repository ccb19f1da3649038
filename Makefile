# Every target sets up what it needs in .venv and is quick when it is there.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DEMO   := demo-pool

.PHONY: help setup demo test check bench docs proof clean

help:
	@echo "make demo    write the demo cohort with a real model on this CPU; again: nothing is made twice"
	@echo "make test    run every test, the real model included, in two processes (PROCESSES=N: in N)"
	@echo "make check   ruff, mypy strict, import-linter"
	@echo "make bench   print the benchmark tables"
	@echo "make proof   run every proof of docs/reliability.md in full, and print one table of what each came to"
	@echo "             TABLE=FILE writes the table as Markdown too; Linux and root"
	@echo "make docs    write docs/cli.md anew"
	@echo "make clean   remove .venv and the demo pool"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@echo "setting up $(VENV) (once)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "genpool needs Python 3.11 or newer; set PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV)
	@PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(READY)
	@$(BIN)/genpool models pull smollm2-135m
	@test -f $(DEMO)/pool.yaml || $(BIN)/genpool init -q $(DEMO) --example
	@$(BIN)/genpool --pool $(DEMO) run demo

test: $(READY)
	@$(BIN)/genpool models pull smollm2-135m
	$(BIN)/python -m pytest -n $(or $(PROCESSES),2) --dist worksteal

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(READY)
	@for program in benchmarks/bench_*.py; do $(BIN)/python $$program || exit 1; done

proof: $(READY)
	GENPOOL_REQUIRE_BROWSER=1 $(BIN)/python -m pytest tests/crash tests/security tests/browser tests/unit/llm/test_faults.py tests/property/test_store_and_planner.py \
		tests/property/test_catalog_and_files.py \
		--full --every-bar $(if $(TABLE),--table $(TABLE)) -n $(or $(PROCESSES),2) --dist worksteal

docs: $(READY)
	$(BIN)/python -m genpool.cli.reference > docs/cli.md

clean:
	rm -rf $(VENV) $(DEMO)
