# Two commands for everybody: `make demo` and `make test`. Both set themselves up in .venv, without root.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check format bench soak clean

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Mastomend needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[check]'
	@touch $@

demo: $(STAMP)
	$(BIN)/mastomend demo

test: $(STAMP)
	$(BIN)/pytest --numprocesses=4 --dist worksteal
	@$(BIN)/python tests/skipped.py

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/docs

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(BIN)/python bench/check_local.py
	$(BIN)/python bench/check_s3.py
	$(BIN)/python bench/list_latency.py
	$(BIN)/python bench/join_10m.py
	$(BIN)/python bench/work_list.py
	$(BIN)/python bench/repair_many.py
	$(BIN)/python bench/set_aside.py
	$(BIN)/python bench/orphans.py --files 300000
	$(BIN)/python bench/prune.py --files 300000 --evict 50000
	$(BIN)/python bench/upload.py
	$(BIN)/python bench/migrate.py --files 300000

# What takes hours: thousands of interleavings of upload, deletion and scan; a kill at every boundary.
soak: $(STAMP)
	MASTOMEND_SOAK=1 $(BIN)/pytest --numprocesses=2 tests/faults tests/property/test_keys_columnar.py tests/integration/test_engines.py tests/integration/test_orphans.py tests/integration/test_migrate.py -k "killed or swift or goes_on or agree"
	MASTOMEND_SEEDS=$${MASTOMEND_SEEDS:-2000} $(BIN)/pytest --numprocesses=2 tests/integration/test_orphans.py -k interleavings

clean:
	rm -rf $(VENV) mastomend-demo bench/results
